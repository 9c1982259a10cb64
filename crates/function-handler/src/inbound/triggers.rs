//! `TriggerService`: which events call which function.

use domain::access::Scope;
use domain::name::{ProjectName, TriggerName};
use domain::trigger::Trigger;
use protocol::explain::{explanation, recorded_event};
use protocol::fault::Fault;
use protocol::functions::v1 as wire;
use protocol::functions::v1::trigger_service_server::TriggerService;
use storage::waiting_room::Owner;
use tonic::{Request, Response, Status};
use tracing::info;

use super::gate::Gate;
use super::{Desk, now, paging};
use crate::define;
use crate::error::{of_name, of_storage};

/// Serves triggers.
#[derive(Debug, Clone)]
pub struct Triggers {
    pub(crate) desk: Desk,
    /// Whether scripts of API calls can be made.
    pub(crate) scripting: bool,
}

#[tonic::async_trait]
impl TriggerService for Triggers {
    async fn create_trigger(
        &self,
        request: Request<wire::CreateTriggerRequest>,
    ) -> Result<Response<wire::Trigger>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let wanted = request.into_inner().trigger;
        let wanted = wanted.ok_or_else(|| Fault::missing("trigger", "a trigger"))?;
        let mut trigger =
            define::trigger(&project, &wanted, now()).map_err(|fault| fault.within("trigger"))?;
        if trigger.script.is_some() && !self.scripting {
            let message = "scripts are switched off here (function_handler.scripting)";
            return Err(Fault::unavailable(message).into());
        }
        let store = self.desk.index.store();
        trigger.revision = store.create_trigger(&trigger).await.map_err(of_storage)?;
        self.desk.catch_up(trigger.revision).await;
        info!(%project, trigger = %trigger.name, revision = trigger.revision, "trigger created");
        Ok(Response::new((&trigger).into()))
    }

    async fn get_trigger(
        &self,
        request: Request<wire::GetTriggerRequest>,
    ) -> Result<Response<wire::Trigger>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let name = trigger_name(&request.get_ref().name)?;
        let trigger = self.existing(&project, &name).await?;
        Ok(Response::new((&trigger).into()))
    }

    async fn list_triggers(
        &self,
        request: Request<wire::ListTriggersRequest>,
    ) -> Result<Response<wire::ListTriggersResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let request = request.into_inner();
        let size = paging::size(request.page_size)?;
        let after: Option<TriggerName> = paging::start(&request.page_token)?;
        let function = match request.function.as_str() {
            "" => None,
            text => Some(define::function_name("function", text)?),
        };
        let store = self.desk.index.store();
        let page = store
            .triggers(&project, function.as_ref(), after.as_ref(), size)
            .await
            .map_err(of_storage)?;
        let last = page.items.last().map(|trigger| &trigger.name);
        Ok(Response::new(wire::ListTriggersResponse {
            next_page_token: paging::next(last, page.has_more),
            triggers: page.items.iter().map(Into::into).collect(),
        }))
    }

    async fn update_trigger(
        &self,
        request: Request<wire::UpdateTriggerRequest>,
    ) -> Result<Response<wire::Trigger>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let allowed = "a trigger with its name and what is to change";
        let wanted = request
            .trigger
            .ok_or_else(|| Fault::missing("trigger", allowed))?;
        let name = trigger_name(&wanted.name).map_err(|fault| fault.within("trigger"))?;
        let mut trigger = self.existing(&project, &name).await?;
        let policy_before = trigger.retry.clone();
        let mask = request.update_mask.as_ref();
        define::change_trigger(&mut trigger, &wanted, mask, now()).map_err(|fault| {
            if fault.field.as_deref() == Some("update_mask") {
                fault
            } else {
                fault.within("trigger")
            }
        })?;
        let store = self.desk.index.store();
        trigger.revision = store.update_trigger(&trigger).await.map_err(of_storage)?;
        self.desk.catch_up(trigger.revision).await;
        if !trigger.is_enabled {
            let owner = Owner::Trigger(name.clone());
            self.desk.call_off.waiting_for(&project, owner);
        } else if trigger.retry != policy_before {
            // What waits to be tried again follows the policy in force.
            let owner = Owner::RetriesOf(name.clone());
            self.desk.call_off.waiting_for(&project, owner);
        }
        info!(%project, trigger = %name, revision = trigger.revision, "trigger changed");
        Ok(Response::new((&trigger).into()))
    }

    async fn delete_trigger(
        &self,
        request: Request<wire::DeleteTriggerRequest>,
    ) -> Result<Response<wire::DeleteTriggerResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let name = trigger_name(&request.get_ref().name)?;
        let store = self.desk.index.store();
        let revision = store
            .delete_trigger(&project, &name)
            .await
            .map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        let owner = Owner::Trigger(name.clone());
        self.desk.call_off.waiting_for(&project, owner);
        info!(%project, trigger = %name, revision, "trigger deleted");
        Ok(Response::new(wire::DeleteTriggerResponse {}))
    }

    async fn explain_event(
        &self,
        request: Request<wire::ExplainEventRequest>,
    ) -> Result<Response<wire::ExplainEventResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let request = request.into_inner();
        let name = define::function_name("function", &request.function)?;
        let allowed = "an event as log-service tells it";
        let record = request
            .event
            .ok_or_else(|| Fault::missing("event", allowed))?;
        let event = recorded_event(&project, &record)?;
        let registry = self.desk.index.view().read();
        if registry.function(&project, &name).is_none() {
            return Err(Fault::not_found("function", name).into());
        }
        let mut triggers: Vec<_> = registry
            .triggers()
            .filter(|trigger| trigger.project == project && trigger.function == name)
            .map(|trigger| explanation(trigger, &event))
            .collect();
        triggers.sort_by(|one, other| one.trigger.cmp(&other.trigger));
        Ok(Response::new(wire::ExplainEventResponse { triggers }))
    }
}

impl Triggers {
    fn gate(&self) -> &Gate {
        &self.desk.gate
    }

    async fn existing(&self, project: &ProjectName, name: &TriggerName) -> Result<Trigger, Fault> {
        let store = self.desk.index.store();
        let trigger = store.trigger(project, name).await.map_err(of_storage)?;
        trigger.ok_or_else(|| Fault::not_found("trigger", name))
    }
}

fn trigger_name(text: &str) -> Result<TriggerName, Fault> {
    if text.is_empty() {
        return Err(Fault::missing("name", "the trigger's name"));
    }
    text.parse().map_err(|error| of_name("name", error))
}
