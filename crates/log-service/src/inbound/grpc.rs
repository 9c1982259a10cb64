//! gRPC: list deliveries, get one event's story, follow what is recorded.

use std::fmt;
use std::sync::Arc;

use domain::access::Scope;
use domain::name::ProjectName;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use lifecycle::Tasks;
use protocol::access::{Caller, admit, authorise};
use protocol::fault::{Fault, FaultKind};
use protocol::from_timestamp;
use protocol::logs::v1 as wire;
use protocol::logs::v1::log_service_server::{LogService, LogServiceServer};
use protocol::registry_feed::RegistryView;
use storage::Redrives;
use storage::log_store::DeliveryFilter;
use tokio::sync::{Semaphore, watch};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::error;
use crate::follow::Follower;
use crate::present::as_grpc;
use crate::query::{Conditions, Reader};

/// Who may read which project's log.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) registry: RegistryView,
    pub(crate) keys_required: bool,
}

impl Guard {
    pub(super) fn admit(&self, metadata: &MetadataMap, scope: Scope) -> Result<ProjectName, Fault> {
        self.known()?;
        authorise(&self.registry.read(), metadata, scope, self.keys_required)
    }

    /// Who asks what a function may ask too, with the session of a delivery: of that delivery.
    fn admit_caller(&self, metadata: &MetadataMap) -> Result<Caller, Fault> {
        self.known()?;
        admit(&self.registry, metadata, Scope::Read, self.keys_required)
    }

    /// # Errors
    /// As long as nothing is configured as far as is known here.
    pub(crate) fn known(&self) -> Result<(), Fault> {
        if self.registry.is_filled() {
            return Ok(());
        }
        Err(Fault::unavailable(
            "which projects and keys there are is not known here yet",
        ))
    }
}

/// The service; clones share what they read from.
#[derive(Clone)]
pub(crate) struct Logs {
    guard: Guard,
    reader: Reader,
    redrives: Arc<dyn Redrives>,
    recorded: watch::Receiver<u64>,
    followers: Arc<Semaphore>,
    stopping: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Logs")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

impl Logs {
    pub(crate) fn new(
        guard: Guard,
        reader: Reader,
        redrives: Arc<dyn Redrives>,
        recorded: watch::Receiver<u64>,
        followers_max: usize,
        tasks: &Tasks,
    ) -> Self {
        let tasks = tasks.clone();
        Self {
            guard,
            reader,
            redrives,
            recorded,
            followers: Arc::new(Semaphore::new(followers_max)),
            stopping: Arc::new(move || tasks.stopping().boxed()),
        }
    }

    pub(crate) fn server(&self) -> LogServiceServer<Self> {
        LogServiceServer::new(self.clone())
    }

    async fn list(
        &self,
        request: Request<wire::ListDeliveriesRequest>,
    ) -> Result<wire::ListDeliveriesResponse, Fault> {
        let caller = self.guard.admit_caller(request.metadata())?;
        let request = request.into_inner();
        let filter = filter(request.filter)?;
        let page = self
            .reader
            .list_for(&caller, filter, request.page_size, &request.page_token);
        let page = page.await?;
        Ok(wire::ListDeliveriesResponse {
            deliveries: page.lines.into_iter().map(as_grpc::line).collect(),
            next_page_token: page.next,
        })
    }

    async fn get(
        &self,
        request: Request<wire::GetEventRequest>,
    ) -> Result<wire::GetEventResponse, Fault> {
        let caller = self.guard.admit_caller(request.metadata())?;
        let project = caller.project().clone();
        let history = self
            .reader
            .event_for(&caller, &request.into_inner().id)
            .await?;
        let deliveries = history.deliveries.iter().map(|(state, _)| state);
        let anew = deliveries.filter(|state| state.generation > 0);
        let anew: Vec<_> = anew.map(|state| state.id).collect();
        let ordered = self.redrives.of_deliveries(&project, &anew).await;
        let ordered = ordered.map_err(|error| error::of_storage(&error))?;
        Ok(as_grpc::history(history, &ordered))
    }

    async fn follow(
        &self,
        request: Request<wire::FollowDeliveriesRequest>,
    ) -> Result<BoxStream<'static, Result<wire::DeliveryLine, Status>>, Fault> {
        let project = self.guard.admit(request.metadata(), Scope::Read)?;
        let filter = filter(request.into_inner().filter)?;
        let place = Arc::clone(&self.followers).try_acquire_owned();
        let place = place.map_err(|_none_left| {
            Fault::new(
                FaultKind::Exhausted,
                "as many clients as are allowed follow already",
            )
        })?;
        let store = Arc::clone(&self.reader.store);
        let follower = Follower::start(store, project, filter, place).await;
        let follower = follower.map_err(|error| error::of_storage(&error))?;
        let lines = follower
            .lines(self.recorded.clone())
            .map(|line| match line {
                Ok(line) => Ok(as_grpc::line(line)),
                Err(error) => Err(error::of_storage(&error).into()),
            });
        Ok(lines.take_until((self.stopping)()).boxed())
    }
}

#[tonic::async_trait]
impl LogService for Logs {
    async fn list_deliveries(
        &self,
        request: Request<wire::ListDeliveriesRequest>,
    ) -> Result<Response<wire::ListDeliveriesResponse>, Status> {
        Ok(Response::new(self.list(request).await?))
    }

    async fn get_event(
        &self,
        request: Request<wire::GetEventRequest>,
    ) -> Result<Response<wire::GetEventResponse>, Status> {
        Ok(Response::new(self.get(request).await?))
    }

    type FollowDeliveriesStream = BoxStream<'static, Result<wire::DeliveryLine, Status>>;

    async fn follow_deliveries(
        &self,
        request: Request<wire::FollowDeliveriesRequest>,
    ) -> Result<Response<Self::FollowDeliveriesStream>, Status> {
        Ok(Response::new(self.follow(request).await?))
    }
}

pub(super) fn filter(filter: Option<wire::DeliveryFilter>) -> Result<DeliveryFilter, Fault> {
    let filter = filter.unwrap_or_default();
    let time = |field: &str, time: Option<protocol::well_known::Timestamp>| match time {
        None => Ok(None),
        Some(time) => from_timestamp(&time).map(Some).ok_or_else(|| {
            let value = format!("{} s {} ns", time.seconds, time.nanos);
            Fault::invalid(field, value, "is not a time", "years -9999 to 9999")
        }),
    };
    let conditions = Conditions {
        event: filter.event,
        event_type: filter.r#type,
        function: filter.function,
        trigger: filter.trigger,
        statuses: filter.statuses,
        since: time("filter.since", filter.since)?,
        until: time("filter.until", filter.until)?,
    };
    conditions.read().map_err(|fault| fault.within("filter"))
}
