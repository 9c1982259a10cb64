//! What the log's questions have in common: their columns, their bounds, and how values are read.

use std::time::Duration;

use domain::delivery::{ErrorClass, Status};
use domain::id::first_id_at;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Cursor, DeliveryFilter, DeliveryLine, DeliveryState, EventReference};
use crate::Error;
use crate::columns::from_micros;

/// No answer is longer than this many lines.
pub(crate) const LINES_MAX: u32 = 1000;

/// Both databases take more parameters than this.
pub(crate) const BOUND_MAX: usize = 10_000;

pub(crate) const DELIVERY_COLUMNS: &str = "SELECT d.eid, d.delivery_id, d.trigger_name, \
     d.function_name, d.generation, d.attempts, d.status, d.remark, d.next_attempt_at_us, \
     d.last_attempt_at_us, d.duration_us, d.response_status, d.error_class, d.error";

pub(crate) const LINES: &str = "SELECT d.eid, d.delivery_id, d.trigger_name, \
     d.function_name, d.generation, d.attempts, d.status, d.remark, d.next_attempt_at_us, \
     d.last_attempt_at_us, d.duration_us, d.response_status, d.error_class, d.error, \
     e.client_id, e.event_type, e.subject, e.accepted_at_us \
     FROM deliveries AS d JOIN events AS e ON e.project = d.project AND e.eid = d.eid";

const MILLISECOND: Duration = Duration::from_millis(1);

impl DeliveryFilter {
    /// Whether only deliveries can meet the conditions, and never an event that matched nothing.
    pub(crate) fn asks_for_deliveries(&self) -> bool {
        !self.statuses.is_empty()
            || self.function.is_some()
            || self.trigger.is_some()
            || matches!(self.event, Some(EventReference::Delivery(_)))
    }

    /// Whether it is about one event, of which everything is known.
    pub(crate) const fn names_an_event(&self) -> bool {
        matches!(
            self.event,
            Some(EventReference::Internal(_) | EventReference::Client(_))
        )
    }

    /// Whether a line of an event that meets the conditions meets those on deliveries too.
    pub(crate) fn admits(&self, line: &DeliveryLine) -> bool {
        if !self.asks_for_deliveries() {
            return true;
        }
        line.delivery.as_ref().is_some_and(|state| {
            (self.statuses.is_empty() || self.statuses.contains(&state.status))
                && self
                    .function
                    .as_ref()
                    .is_none_or(|name| *name == state.function)
                && self
                    .trigger
                    .as_ref()
                    .is_none_or(|name| *name == state.trigger)
        })
    }
}

impl DeliveryLine {
    pub(crate) fn with(self, state: DeliveryState) -> Self {
        Self {
            delivery: Some(state),
            ..self
        }
    }

    /// One line for each delivery; this line itself when there is none.
    pub(crate) fn with_each(self, states: Vec<DeliveryState>) -> Vec<Self> {
        if states.is_empty() {
            return vec![self];
        }
        states
            .into_iter()
            .map(|state| self.clone().with(state))
            .collect()
    }

    /// Whether the line follows the cursor in a listing, newest first.
    pub(crate) fn comes_after(&self, cursor: Cursor) -> bool {
        if self.eid != cursor.event {
            return self.eid < cursor.event;
        }
        match (&self.delivery, cursor.delivery) {
            (Some(state), Some(last)) => state.id < last,
            // The event matched nothing when its line was given, and is listed already.
            (_, None) | (None, Some(_)) => false,
        }
    }
}

/// The range of ids in which an event of this time lies, to the millisecond, and its deliveries.
pub(crate) fn span_of(time: Timestamp) -> (Uuid, Uuid) {
    let end = time.saturating_add(MILLISECOND).unwrap_or(Timestamp::MAX);
    (first_id_at(time), first_id_at(end))
}

/// The filter's times as bounds on columns of ids: column, comparison, id. To the millisecond,
/// as ids are.
pub(crate) fn time_bounds(
    filter: &DeliveryFilter,
    columns: &'static [&'static str],
) -> Vec<(&'static str, &'static str, Uuid)> {
    let since = filter.since.map(|since| (">=", first_id_at(since)));
    let until = filter.until.map(|until| ("<", first_id_at(until)));
    let bounds = [since, until].into_iter().flatten();
    bounds
        .flat_map(|(comparison, id)| columns.iter().map(move |column| (*column, comparison, id)))
        .collect()
}

pub(crate) fn read_status(text: &str) -> Result<Status, Error> {
    Status::parse(text).ok_or_else(|| Error::corrupt("delivery", format_args!("status {text:?}")))
}

pub(crate) fn read_error_class(text: Option<&str>) -> Result<Option<ErrorClass>, Error> {
    let Some(text) = text else { return Ok(None) };
    ErrorClass::parse(text)
        .map(Some)
        .ok_or_else(|| Error::corrupt("delivery", format_args!("error class {text:?}")))
}

pub(crate) fn read_time(micros: Option<i64>) -> Result<Option<Timestamp>, Error> {
    micros.map(from_micros).transpose()
}

pub(crate) fn read_response_status(status: Option<i64>) -> Option<u16> {
    status.and_then(|status| u16::try_from(status).ok())
}
