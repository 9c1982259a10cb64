//! `FunctionService`: functions, described by people and their tools.

use domain::access::Scope;
use domain::function::Function;
use domain::name::{FunctionName, ProjectName, TriggerName};
use domain::session::{RevocationSubject, SessionRevocation};
use domain::trigger::Trigger;
use futures::stream::BoxStream;
use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1 as wire;
use protocol::functions::v1::function_service_server::FunctionService;
use storage::waiting_room::Owner;
use tonic::{Request, Response, Status};
use tracing::info;

use super::gate::Gate;
use super::watch_functions::FunctionWatch;
use super::{Desk, now, paging};
use crate::define;
use crate::error::of_storage;
use crate::make_secrets::make_function_secrets;

/// Serves functions.
#[derive(Debug, Clone)]
pub struct Functions {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl FunctionService for Functions {
    async fn create_function(
        &self,
        request: Request<wire::CreateFunctionRequest>,
    ) -> Result<Response<wire::CreateFunctionResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let (mut function, trigger) = define::function(&project, &request, now())?;
        self.check_names(&function)?;
        let (revision, mut trigger) = self.store_function(&function, trigger).await?;
        function.revision = revision;
        if let Some(trigger) = &mut trigger {
            trigger.revision = revision;
        }
        self.desk.catch_up(revision).await;
        info!(%project, function = %function.name, revision, "function created");
        Ok(Response::new(wire::CreateFunctionResponse {
            function: Some((&function).into()),
            trigger: trigger.as_ref().map(Into::into),
            secret: function.secret,
            signing_secret: function.signing_secret,
        }))
    }

    async fn get_function(
        &self,
        request: Request<wire::GetFunctionRequest>,
    ) -> Result<Response<wire::Function>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let name = define::function_name("name", &request.get_ref().name)?;
        let function = self.existing(&project, &name).await?;
        Ok(Response::new((&function).into()))
    }

    async fn list_functions(
        &self,
        request: Request<wire::ListFunctionsRequest>,
    ) -> Result<Response<wire::ListFunctionsResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let size = paging::size(request.get_ref().page_size)?;
        let after: Option<FunctionName> = paging::start(&request.get_ref().page_token)?;
        let store = self.desk.index.store();
        let page = store
            .functions(&project, after.as_ref(), size)
            .await
            .map_err(of_storage)?;
        let last = page.items.last().map(|function| &function.name);
        Ok(Response::new(wire::ListFunctionsResponse {
            next_page_token: paging::next(last, page.has_more),
            functions: page.items.iter().map(Into::into).collect(),
        }))
    }

    async fn update_function(
        &self,
        request: Request<wire::UpdateFunctionRequest>,
    ) -> Result<Response<wire::Function>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let allowed = "a function with its name and what is to change";
        let wanted = request.function.as_ref();
        let wanted = wanted.ok_or_else(|| Fault::missing("function", allowed))?;
        let name = define::function_name("name", &wanted.name)
            .map_err(|fault| fault.within("function"))?;
        let mut function = self.existing(&project, &name).await?;
        define::change_function(&mut function, &request, now())?;
        self.check_names(&function)?;
        let store = self.desk.index.store();
        function.revision = store.update_function(&function).await.map_err(of_storage)?;
        self.desk.catch_up(function.revision).await;
        info!(%project, function = %name, revision = function.revision, "function changed");
        Ok(Response::new((&function).into()))
    }

    async fn delete_function(
        &self,
        request: Request<wire::DeleteFunctionRequest>,
    ) -> Result<Response<wire::DeleteFunctionResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let name = define::function_name("name", &request.get_ref().name)?;
        let moved = self.moved_triggers(&project, &name);
        // First: a crash in between ends sessions of a function that is still there, and no more.
        self.end_sessions(&project, &name).await?;
        let store = self.desk.index.store();
        let revision = store
            .delete_function(&project, &name)
            .await
            .map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        let function = Owner::Function(name.clone());
        for owner in moved.into_iter().map(Owner::Trigger).chain([function]) {
            self.desk.call_off.waiting_for(&project, owner);
        }
        info!(%project, function = %name, revision, "function deleted");
        Ok(Response::new(wire::DeleteFunctionResponse {}))
    }

    async fn rotate_secret(
        &self,
        request: Request<wire::RotateSecretRequest>,
    ) -> Result<Response<wire::RotateSecretResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let name = define::function_name("name", &request.name)?;
        let overlap = define::overlap(request.overlap.as_ref())?;
        let mut function = self.existing(&project, &name).await?;
        let fresh = make_function_secrets()?;
        function
            .rotate(fresh.clone(), overlap, now())
            .map_err(|open| Fault::new(FaultKind::Conflict, open.to_string()))?;
        self.store_change(&mut function).await?;
        info!(%project, function = %name, revision = function.revision, "secrets are rotated");
        Ok(Response::new(wire::RotateSecretResponse {
            function: Some((&function).into()),
            secret: fresh.secret,
            signing_secret: fresh.signing_secret,
        }))
    }

    async fn promote_secret(
        &self,
        request: Request<wire::PromoteSecretRequest>,
    ) -> Result<Response<wire::Function>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let name = define::function_name("name", &request.get_ref().name)?;
        let mut function = self.existing(&project, &name).await?;
        if !function.promote(now()) {
            let message = "its secrets are not being rotated";
            return Err(Fault::new(FaultKind::Conflict, message).into());
        }
        self.store_change(&mut function).await?;
        info!(%project, function = %name, revision = function.revision, "new secrets are promoted");
        Ok(Response::new((&function).into()))
    }

    type WatchFunctionsStream = BoxStream<'static, Result<wire::WatchFunctionsResponse, Status>>;

    async fn watch_functions(
        &self,
        request: Request<wire::WatchFunctionsRequest>,
    ) -> Result<Response<Self::WatchFunctionsStream>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let metadata = request.metadata().clone();
        let watch = FunctionWatch::new(self.desk.clone(), project, metadata);
        Ok(Response::new(watch.into_stream()))
    }
}

impl Functions {
    fn gate(&self) -> &Gate {
        &self.desk.gate
    }

    /// By its name or its endpoint a function is known within its package, and no other is.
    fn check_names(&self, function: &Function) -> Result<(), Fault> {
        let registry = self.desk.index.view().read();
        let Some(other) = registry.clash_of(function) else {
            return Ok(());
        };
        let endpoint = function.settings.endpoint.as_deref();
        let (field, value) = match endpoint {
            Some(endpoint) => ("settings.endpoint", endpoint),
            None => ("name", function.name.name.as_str()),
        };
        let message = format!("is what {} of the same package is called by", other.name);
        Err(Fault {
            kind: FaultKind::AlreadyExists,
            ..Fault::invalid(field, value, message, "a name that no other function has")
        })
    }

    /// Stores the function with its trigger, under the trigger's other name where its first is
    /// taken.
    async fn store_function(
        &self,
        function: &Function,
        trigger: Option<Trigger>,
    ) -> Result<(u64, Option<Trigger>), Fault> {
        let store = self.desk.index.store();
        match store.create_function(function, trigger.as_ref()).await {
            Ok(revision) => Ok((revision, trigger)),
            Err(storage::Error::AlreadyExists {
                what: "trigger",
                name,
            }) => {
                let Some(trigger) = trigger.as_ref().and_then(define::with_package) else {
                    return Err(of_storage(storage::Error::AlreadyExists {
                        what: "trigger",
                        name,
                    }));
                };
                let stored = store.create_function(function, Some(&trigger)).await;
                Ok((stored.map_err(of_storage)?, Some(trigger)))
            }
            Err(error) => Err(of_storage(error)),
        }
    }

    /// Stores a function whose secrets changed, and waits until this replica knows it.
    async fn store_change(&self, function: &mut Function) -> Result<(), Fault> {
        function.updated_at = now();
        let store = self.desk.index.store();
        function.revision = store.update_function(function).await.map_err(of_storage)?;
        self.desk.catch_up(function.revision).await;
        Ok(())
    }

    /// Triggers that will be deleted with the function but may have called another one before:
    /// what waits because of them may wait for that one.
    fn moved_triggers(&self, project: &ProjectName, name: &FunctionName) -> Vec<TriggerName> {
        let registry = self.desk.index.view().read();
        registry
            .triggers()
            .filter(|trigger| trigger.project == *project && trigger.function == *name)
            .filter(|trigger| trigger.updated_at > trigger.created_at)
            .map(|trigger| trigger.name.clone())
            .collect()
    }

    /// Ends the sessions of a function, if there is one of that name.
    async fn end_sessions(&self, project: &ProjectName, name: &FunctionName) -> Result<(), Fault> {
        self.existing(project, name).await?;
        let revocation = SessionRevocation {
            project: project.clone(),
            subject: RevocationSubject::Function(name.clone()),
            at: now(),
            revision: 0,
        };
        self.desk.revoke_sessions(&revocation).await
    }

    async fn existing(
        &self,
        project: &ProjectName,
        name: &FunctionName,
    ) -> Result<Function, Fault> {
        let store = self.desk.index.store();
        let function = store.function(project, name).await.map_err(of_storage)?;
        function.ok_or_else(|| Fault::not_found("function", name))
    }
}
