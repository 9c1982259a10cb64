//! gRPC: order to deliver again, watch how far that has come, stop it.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::access::Scope;
use domain::id::RedriveId;
use domain::name::ProjectName;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use lifecycle::Tasks;
use protocol::fault::{Fault, FaultKind};
use protocol::redrive::v1 as wire;
use protocol::redrive::v1::redrive_service_server::{RedriveService, RedriveServiceServer};
use storage::Redrives;
use storage::redrives::{Progress, Redrive, RedriveState};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::grpc::{Guard, filter};
use crate::error;
use crate::present::as_grpc;
use crate::redrive::order::{self, Asked};
use crate::redrive::{DELIVERIES_MAX, RUNNING_MAX, SAMPLE_MAX};

const LISTED_DEFAULT: u32 = 20;
const LISTED_MAX: u32 = 100;

/// Clients that watch an order at a time.
const WATCHERS_MAX: usize = 64;

/// Those who watch are told this often at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The service; clones share what they read from.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) guard: Guard,
    pub(crate) redrives: Arc<dyn Redrives>,
    /// Told when an order was begun.
    pub(crate) begun: Arc<Notify>,
    watchers: Arc<Semaphore>,
    tasks: Tasks,
}

impl Orders {
    pub(crate) fn new(
        guard: Guard,
        redrives: Arc<dyn Redrives>,
        begun: Arc<Notify>,
        tasks: &Tasks,
    ) -> Self {
        Self {
            guard,
            redrives,
            begun,
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            tasks: tasks.clone(),
        }
    }

    pub(crate) fn server(&self) -> RedriveServiceServer<Self> {
        RedriveServiceServer::new(self.clone())
    }

    async fn start(
        &self,
        request: Request<wire::StartRedriveRequest>,
    ) -> Result<wire::StartRedriveResponse, Fault> {
        let project = self.guard.admit(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let now = Timestamp::now();
        let asked = Asked {
            kind: request.kind,
            filter: filter(request.filter)?,
            to_function: request.to_function,
            per_second: request.per_second,
        };
        let order = order::read(asked, &project, &self.guard.registry.read(), now)?;
        let count = self.redrives.count(&project, &order, DELIVERIES_MAX + 1);
        let total = count.await.map_err(|error| error::of_storage(&error))?;
        order::check_count(&order, total)?;
        let sample = self
            .redrives
            .candidates(&project, &order, None, SAMPLE_MAX)
            .await;
        let sample = sample.map_err(|error| error::of_storage(&error))?;
        let sample = sample.into_iter().map(as_grpc::candidate).collect();
        if request.dry_run {
            return Ok(wire::StartRedriveResponse {
                count: total,
                sample,
                redrive: None,
            });
        }
        let redrive = Redrive {
            id: RedriveId::new(now, random()?),
            project,
            order,
            state: RedriveState::Running,
            total,
            sent: 0,
            skipped: 0,
            reason: None,
            created_at: now,
            updated_at: now,
            ended_at: None,
            progress: Progress {
                batch: 0,
                done_to: None,
                next_due_at: now,
            },
        };
        let begun = self.redrives.start(&redrive, RUNNING_MAX).await;
        if !begun.map_err(|error| error::of_storage(&error))? {
            let message =
                format!("{RUNNING_MAX} orders of the project run already, and no more may");
            return Err(Fault::new(FaultKind::Exhausted, message));
        }
        self.begun.notify_one();
        Ok(wire::StartRedriveResponse {
            count: total,
            sample,
            redrive: Some(as_grpc::redrive(redrive)),
        })
    }

    async fn find(
        &self,
        metadata: &MetadataMap,
        id: &str,
    ) -> Result<(ProjectName, Redrive), Fault> {
        let project = self.guard.admit(metadata, Scope::Read)?;
        let found = self.redrives.get(&project, read_id(id)?).await;
        let found = found.map_err(|error| error::of_storage(&error))?;
        let redrive = found.ok_or_else(|| Fault::not_found("the order", id))?;
        Ok((project, redrive))
    }

    async fn list(
        &self,
        request: Request<wire::ListRedrivesRequest>,
    ) -> Result<wire::ListRedrivesResponse, Fault> {
        let project = self.guard.admit(request.metadata(), Scope::Read)?;
        let limit = match request.into_inner().limit {
            0 => LISTED_DEFAULT,
            limit @ 1..=LISTED_MAX => limit,
            limit => {
                let allowed = format!("1 to {LISTED_MAX}");
                return Err(Fault::invalid(
                    "limit",
                    limit.to_string(),
                    "is too large",
                    allowed,
                ));
            }
        };
        let found = self.redrives.list(&project, limit).await;
        let found = found.map_err(|error| error::of_storage(&error))?;
        Ok(wire::ListRedrivesResponse {
            redrives: found.into_iter().map(as_grpc::redrive).collect(),
        })
    }

    async fn stop(
        &self,
        request: Request<wire::StopRedriveRequest>,
    ) -> Result<wire::Redrive, Fault> {
        let project = self.guard.admit(request.metadata(), Scope::Manage)?;
        let id = request.into_inner().id;
        let stopped = self
            .redrives
            .stop(&project, read_id(&id)?, Timestamp::now())
            .await;
        let stopped = stopped.map_err(|error| error::of_storage(&error))?;
        let stopped = stopped.ok_or_else(|| Fault::not_found("the order", &id))?;
        Ok(as_grpc::redrive(stopped))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRedriveRequest>,
    ) -> Result<BoxStream<'static, Result<wire::Redrive, Status>>, Fault> {
        let (metadata, _, message) = request.into_parts();
        let (project, redrive) = self.find(&metadata, &message.id).await?;
        let place = Arc::clone(&self.watchers).try_acquire_owned();
        let place = place.map_err(|_none_left| {
            let message = "as many clients as are allowed watch already";
            Fault::new(FaultKind::Exhausted, message)
        })?;
        let watch = Watch {
            redrives: Arc::clone(&self.redrives),
            project,
            last: redrive,
            is_first: true,
            _place: place,
        };
        let told = stream::unfold(Some(watch), |watch| async move {
            let mut watch = watch?;
            match watch.next().await? {
                Ok(redrive) => Some((Ok(as_grpc::redrive(redrive)), Some(watch))),
                Err(fault) => Some((Err(fault.into()), None)),
            }
        });
        Ok(told.take_until(self.tasks.stopping()).boxed())
    }
}

/// One client that watches an order.
struct Watch {
    redrives: Arc<dyn Redrives>,
    project: ProjectName,
    last: Redrive,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// The order when it has come further; `None` when it has ended and that was told.
    async fn next(&mut self) -> Option<Result<Redrive, Fault>> {
        if std::mem::take(&mut self.is_first) {
            return Some(Ok(self.last.clone()));
        }
        while self.last.state == RedriveState::Running {
            sleep(LOOK_EVERY).await;
            match self.redrives.get(&self.project, self.last.id).await {
                Ok(Some(now)) if now != self.last => {
                    self.last = now.clone();
                    return Some(Ok(now));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error::of_storage(&error))),
            }
        }
        None
    }
}

fn read_id(text: &str) -> Result<RedriveId, Fault> {
    text.parse()
        .map_err(|_no_id| Fault::invalid("id", text, "is no order's id", "rdv_…"))
}

fn random() -> Result<[u8; 10], Fault> {
    let mut ten = [0; 10];
    getrandom::fill(&mut ten).map_err(|error| {
        tracing::error!(%error, "the system gave no random bytes");
        Fault::new(FaultKind::Internal, "the system gave no random bytes")
    })?;
    Ok(ten)
}

#[tonic::async_trait]
impl RedriveService for Orders {
    async fn start_redrive(
        &self,
        request: Request<wire::StartRedriveRequest>,
    ) -> Result<Response<wire::StartRedriveResponse>, Status> {
        Ok(Response::new(self.start(request).await?))
    }

    async fn get_redrive(
        &self,
        request: Request<wire::GetRedriveRequest>,
    ) -> Result<Response<wire::Redrive>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (_, redrive) = self.find(&metadata, &message.id).await?;
        Ok(Response::new(as_grpc::redrive(redrive)))
    }

    async fn list_redrives(
        &self,
        request: Request<wire::ListRedrivesRequest>,
    ) -> Result<Response<wire::ListRedrivesResponse>, Status> {
        Ok(Response::new(self.list(request).await?))
    }

    type WatchRedriveStream = BoxStream<'static, Result<wire::Redrive, Status>>;

    async fn watch_redrive(
        &self,
        request: Request<wire::WatchRedriveRequest>,
    ) -> Result<Response<Self::WatchRedriveStream>, Status> {
        Ok(Response::new(self.watch(request).await?))
    }

    async fn stop_redrive(
        &self,
        request: Request<wire::StopRedriveRequest>,
    ) -> Result<Response<wire::Redrive>, Status> {
        Ok(Response::new(self.stop(request).await?))
    }
}
