//! `tripline deliveries`: what waits and why, and what is done about it.

use jiff::Timestamp;
use protocol::waiting::v1 as waiting;
use serde::Serialize;

use super::show_time;
use crate::command_line::{Connection, Deliveries};
use crate::failure::Failure;
use crate::output::{self, Row};

/// As many as a page of the server has at most.
const PAGE_MAX: u32 = 1_000;

/// A delivery that waits, as printed.
#[derive(Debug, Serialize)]
struct ShownDelivery {
    id: String,
    function: String,
    trigger: String,
    reason: String,
    state: String,
    waits_since: String,
    due_at: String,
    next_attempt: u32,
    order_key: String,
    fault: String,
}

impl From<waiting::WaitingDelivery> for ShownDelivery {
    fn from(delivery: waiting::WaitingDelivery) -> Self {
        Self {
            waits_since: show_time(delivery.waits_since.as_ref()),
            due_at: show_time(delivery.due_at.as_ref()),
            id: delivery.id,
            function: delivery.function,
            trigger: delivery.trigger,
            reason: delivery.reason,
            state: delivery.state,
            next_attempt: delivery.next_attempt,
            order_key: delivery.order_key,
            fault: delivery.fault,
        }
    }
}

impl Row for ShownDelivery {
    const HEADINGS: &'static [&'static str] = &[
        "DELIVERY", "FUNCTION", "REASON", "STATE", "SINCE", "DUE", "ATTEMPT",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.function.clone(),
            self.reason.clone(),
            self.state.clone(),
            self.waits_since.clone(),
            self.due_at.clone(),
            self.next_attempt.to_string(),
        ]
    }
}

/// How much waits for one function for one reason, as printed.
#[derive(Debug, Serialize)]
struct ShownBacklog {
    function: String,
    reason: String,
    deliveries: u64,
    oldest: String,
    next_due_at: String,
}

impl Row for ShownBacklog {
    const HEADINGS: &'static [&'static str] =
        &["FUNCTION", "REASON", "DELIVERIES", "OLDEST", "NEXT DUE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.function.clone(),
            self.reason.clone(),
            self.deliveries.to_string(),
            self.oldest.clone(),
            self.next_due_at.clone(),
        ]
    }
}

pub(crate) async fn run(command: Deliveries, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.waiting()?;
    match command {
        Deliveries::List {
            function,
            trigger,
            reason,
            limit,
        } => {
            let request = waiting::ListWaitingRequest {
                function: function.unwrap_or_default(),
                trigger: trigger.unwrap_or_default(),
                reason: reason.unwrap_or_default(),
                ..waiting::ListWaitingRequest::default()
            };
            list(request, limit, connection).await
        }
        Deliveries::Backlog => {
            let request = waiting::GetBacklogRequest {};
            let answer = client.get_backlog(request).await?.into_inner();
            let lines: Vec<_> = answer.backlog.into_iter().map(shown_line).collect();
            output::rows(connection.output, &lines)
        }
        Deliveries::Reschedule { id, at, after } => {
            let due_at = match (at, after) {
                (Some(at), _) => Some(at),
                (None, Some(after)) => Timestamp::now().saturating_add(after).ok(),
                (None, None) => None,
            };
            let due_at = due_at.ok_or_else(|| Failure::usage("give a time, with --at or --in"))?;
            let due_at = Some(protocol::to_timestamp(due_at));
            let request = waiting::RescheduleDeliveryRequest { id, due_at };
            let answer = client.reschedule_delivery(request).await?;
            show("rescheduled", answer.into_inner(), connection)
        }
        Deliveries::Cancel { id } => {
            let request = waiting::CancelDeliveryRequest { id };
            let answer = client.cancel_delivery(request).await?;
            show("cancelled", answer.into_inner(), connection)
        }
        Deliveries::RetryNow { id } => {
            let request = waiting::RetryDeliveryRequest { id };
            let answer = client.retry_delivery(request).await?;
            show("tried at once", answer.into_inner(), connection)
        }
    }
}

async fn list(
    mut request: waiting::ListWaitingRequest,
    limit: u32,
    connection: &Connection,
) -> Result<(), Failure> {
    let mut client = connection.waiting()?;
    let mut shown: Vec<ShownDelivery> = Vec::new();
    loop {
        let left = limit.saturating_sub(u32::try_from(shown.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        request.page_size = left.min(PAGE_MAX);
        let page = client.list_waiting(request.clone()).await?.into_inner();
        shown.extend(page.deliveries.into_iter().map(ShownDelivery::from));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    output::rows(connection.output, &shown)
}

fn show(
    done: &'static str,
    delivery: waiting::WaitingDelivery,
    connection: &Connection,
) -> Result<(), Failure> {
    let shown = ShownDelivery::from(delivery);
    let fields = [
        (done, shown.id.clone()),
        ("function", shown.function.clone()),
        ("trigger", shown.trigger.clone()),
        ("waited for", shown.reason.clone()),
        ("due", shown.due_at.clone()),
    ];
    output::one(connection.output, &shown, &fields)
}

fn shown_line(line: waiting::Backlog) -> ShownBacklog {
    ShownBacklog {
        oldest: show_time(line.oldest.as_ref()),
        next_due_at: show_time(line.next_due_at.as_ref()),
        function: line.function,
        reason: line.reason,
        deliveries: line.deliveries,
    }
}
