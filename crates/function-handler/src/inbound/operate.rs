//! `WaitingService`: what waits and why, and what operators do about it.

use std::sync::Arc;
use std::time::Duration;

use domain::access::Scope;
use domain::delivery::{Status as DeliveryStatus, WaitReason};
use domain::event::AHEAD_MAX;
use domain::id::DeliveryId;
use domain::name::{ProjectName, TriggerName};
use jiff::Timestamp;
use protocol::envelope::Envelope as _;
use protocol::fault::{Fault, FaultKind};
use protocol::waiting::v1 as wire;
use protocol::waiting::v1::waiting_service_server::WaitingService;
use protocol::{from_timestamp, to_timestamp};
use storage::WaitingRoom;
use storage::waiting_room::{BacklogLine, Shown, State, Taken, WaitingFilter, WaitingRow};
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::{Desk, paging};
use crate::define;
use crate::error::{of_name, of_storage};
use crate::outbound::deliveries::Outbound;
use crate::release::Ending;

/// A delivery that is being cancelled is in these hands for so long at most.
const CLAIM_FOR: Duration = Duration::from_secs(30);

/// What is shown of a delivery that an operator has ended.
const CANCELLED: &str = "cancelled by operator";

/// Serves what waits.
#[derive(Debug, Clone)]
pub struct Operate {
    pub(crate) desk: Desk,
    pub(crate) room: Arc<dyn WaitingRoom>,
    pub(crate) outbound: Outbound,
}

#[tonic::async_trait]
impl WaitingService for Operate {
    async fn list_waiting(
        &self,
        request: Request<wire::ListWaitingRequest>,
    ) -> Result<Response<wire::ListWaitingResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let request = request.into_inner();
        let size = paging::size(request.page_size)?;
        let after: Option<DeliveryId> = paging::start(&request.page_token)?;
        let filter = filter(&request)?;
        let shown = self.room.list(&project, &filter, after, size + 1).await;
        let mut shown = shown.map_err(of_storage)?;
        let wanted = usize::try_from(size).unwrap_or(usize::MAX);
        let has_more = shown.len() > wanted;
        shown.truncate(wanted);
        let last = shown.last().map(|shown| shown.row.delivery);
        Ok(Response::new(wire::ListWaitingResponse {
            next_page_token: paging::next(last, has_more),
            deliveries: shown.iter().map(as_wire).collect(),
        }))
    }

    async fn get_backlog(
        &self,
        request: Request<wire::GetBacklogRequest>,
    ) -> Result<Response<wire::GetBacklogResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let backlog = self.room.backlog(&project).await.map_err(of_storage)?;
        let backlog = backlog.iter().map(line_as_wire).collect();
        Ok(Response::new(wire::GetBacklogResponse { backlog }))
    }

    async fn reschedule_delivery(
        &self,
        request: Request<wire::RescheduleDeliveryRequest>,
    ) -> Result<Response<wire::WaitingDelivery>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let delivery = delivery_id(&request.id)?;
        let due_at = due_at(request.due_at.as_ref(), Timestamp::now())?;
        Ok(self.reschedule(&project, delivery, due_at).await?)
    }

    async fn cancel_delivery(
        &self,
        request: Request<wire::CancelDeliveryRequest>,
    ) -> Result<Response<wire::WaitingDelivery>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let delivery = delivery_id(&request.get_ref().id)?;
        Ok(self.cancel(&project, delivery).await?)
    }

    async fn retry_delivery(
        &self,
        request: Request<wire::RetryDeliveryRequest>,
    ) -> Result<Response<wire::WaitingDelivery>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let delivery = delivery_id(&request.get_ref().id)?;
        Ok(self
            .reschedule(&project, delivery, Timestamp::now())
            .await?)
    }
}

impl Operate {
    async fn reschedule(
        &self,
        project: &ProjectName,
        delivery: DeliveryId,
        due_at: Timestamp,
    ) -> Result<Response<wire::WaitingDelivery>, Fault> {
        let taken = self.room.reschedule(project, delivery, due_at).await;
        let row = of_taken(taken.map_err(of_storage)?, delivery)?;
        info!(%project, delivery.id = %delivery, %due_at, "a waiting delivery is due at another time");
        Ok(answer(row))
    }

    /// Takes it out first, so that nobody sends it meanwhile; it is gone when that is recorded.
    async fn cancel(
        &self,
        project: &ProjectName,
        delivery: DeliveryId,
    ) -> Result<Response<wire::WaitingDelivery>, Fault> {
        let now = Timestamp::now();
        let taken = self.room.claim(project, delivery, now, CLAIM_FOR).await;
        let (row, claim) = of_taken(taken.map_err(of_storage)?, delivery)?;
        let waiting = domain::delivery::Waiting::read(row.payload.clone());
        match waiting.ok().and_then(|waiting| waiting.into_iter().next()) {
            Some(waiting) => {
                let (event, target) = (&waiting.event, &waiting.target);
                let ending = Ending::of(event, target, DeliveryStatus::Cancel, CANCELLED, now);
                let recorded = self.outbound.record_once(vec![ending.record]).await;
                recorded.map_err(|error| {
                    warn!(%error, delivery.id = %delivery, "a cancelled delivery could not be recorded");
                    Fault::unavailable("the broker cannot be reached; try again in half a minute")
                })?;
            }
            // Which event it belongs to cannot be read, so there is nothing to record it under.
            None => warn!(delivery.id = %delivery, "a delivery that cannot be read is cancelled"),
        }
        let rows = std::slice::from_ref(&row);
        self.room.remove(rows, claim).await.map_err(of_storage)?;
        info!(%project, delivery.id = %delivery, "a waiting delivery is cancelled by an operator");
        Ok(answer(row))
    }
}

fn of_taken<T>(taken: Taken<T>, delivery: DeliveryId) -> Result<T, Fault> {
    match taken {
        Taken::Done(done) => Ok(done),
        Taken::NotThere => Err(Fault::new(
            FaultKind::NotFound,
            format!("no delivery {delivery} waits: it has ended, or is being delivered"),
        )),
        Taken::UnderWay => Err(Fault::new(
            FaultKind::Conflict,
            format!("delivery {delivery} is being delivered just now; see what comes of it"),
        )),
    }
}

fn delivery_id(text: &str) -> Result<DeliveryId, Fault> {
    if text.is_empty() {
        return Err(Fault::missing("id", "a delivery's id, dlv_…"));
    }
    text.parse().map_err(|error: domain::id::ParseIdError| {
        let message = "is not a delivery's id";
        Fault::invalid("id", text, message, format!("{}_ and more", error.prefix))
    })
}

fn due_at(
    time: Option<&protocol::well_known::Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, Fault> {
    const ALLOWED: &str = "at most 6 days ahead, a day less than logs are kept";
    let time = time.ok_or_else(|| Fault::missing("due_at", ALLOWED))?;
    let read = from_timestamp(time);
    let latest = now.saturating_add(AHEAD_MAX).unwrap_or(Timestamp::MAX);
    match read {
        Some(due_at) if due_at <= latest => Ok(due_at.max(now)),
        Some(due_at) => {
            let message = "is too far ahead";
            Err(Fault::invalid(
                "due_at",
                due_at.to_string(),
                message,
                ALLOWED,
            ))
        }
        None => {
            let value = format!("{} s {} ns", time.seconds, time.nanos);
            Err(Fault::invalid("due_at", value, "is not a time", ALLOWED))
        }
    }
}

fn filter(request: &wire::ListWaitingRequest) -> Result<WaitingFilter, Fault> {
    let function = match request.function.as_str() {
        "" => None,
        text => Some(define::function_name("function", text)?),
    };
    let trigger = match request.trigger.as_str() {
        "" => None,
        text => {
            let name: TriggerName = text.parse().map_err(|error| of_name("trigger", error))?;
            Some(name)
        }
    };
    let reason = match request.reason.as_str() {
        "" => None,
        text => Some(WaitReason::parse(text).ok_or_else(|| {
            let allowed = WaitReason::ALL.map(WaitReason::as_str).join(", ");
            Fault::invalid("reason", text, "is no reason to wait", allowed)
        })?),
    };
    Ok(WaitingFilter {
        function,
        trigger,
        reason,
    })
}

fn answer(row: WaitingRow) -> Response<wire::WaitingDelivery> {
    let state = State::Waiting;
    Response::new(as_wire(&Shown { row, state }))
}

fn as_wire(shown: &Shown) -> wire::WaitingDelivery {
    let Shown { row, state } = shown;
    let (state, fault) = match state {
        State::Waiting => ("waiting", ""),
        State::Behind => ("behind", ""),
        State::UnderWay => ("under_way", ""),
        State::Aside(fault) => ("aside", fault.as_str()),
    };
    wire::WaitingDelivery {
        id: row.delivery.to_string(),
        trigger: row.trigger.to_string(),
        function: row.function.to_string(),
        reason: row.reason.as_str().to_owned(),
        waits_since: Some(to_timestamp(row.since)),
        due_at: Some(to_timestamp(row.due_at)),
        next_attempt: row.next_attempt,
        state: state.to_owned(),
        order_key: row.order_key.clone().unwrap_or_default(),
        fault: fault.to_owned(),
    }
}

fn line_as_wire(line: &BacklogLine) -> wire::Backlog {
    wire::Backlog {
        function: line.function.to_string(),
        reason: line.reason.as_str().to_owned(),
        deliveries: line.count,
        oldest: Some(to_timestamp(line.oldest)),
        next_due_at: Some(to_timestamp(line.next_due_at)),
    }
}
