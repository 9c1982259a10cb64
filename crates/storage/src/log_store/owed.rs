//! What is owed and told with its event alone: the rows of its deliveries are spared, since mostly
//! their first attempts are known a moment later, and make rows that hold everything.

use std::borrow::Cow;

use domain::delivery::Status;
use domain::event::Event;
use domain::id::{DeliveryId, EventId};
use domain::record::{Matched, Record};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DeliveryState;
use super::rows::{DeliveryRow, json};
use crate::Error;
use crate::columns::{from_micros, micros, parse};

/// A batch with fewer deliveries than this makes a row for each at once: where little is going on,
/// every listing knows them from the beginning.
const BUSY_FROM: usize = 100;

/// More is not told with one event. An event with very many comes in several records, each of them
/// longer than this, and only the first of them could tell it.
const TOLD_MAX: usize = 100;

/// Whether so much is going on that rows are spared.
pub(super) fn is_busy(records: &[&Record]) -> bool {
    let owed = records.iter().map(|record| match record {
        Record::Matched(matched) => matched.targets.len(),
        Record::Attempted(_) | Record::Settled(_) => 0,
    });
    owed.sum::<usize>() >= BUSY_FROM
}

/// Whether what was matched can be told with the event: nothing else has to be known of it.
pub(super) fn can_be_told(matched: &Matched) -> bool {
    let is_plain = |target: &domain::delivery::Target| target.generation == 0;
    (1..=TOLD_MAX).contains(&matched.targets.len()) && matched.targets.iter().all(is_plain)
}

/// When what is for later is delivered; it is staged until then.
pub(super) fn due_at(event: &Event) -> Option<Timestamp> {
    let deliver_at = event.deliver_at;
    deliver_at.filter(|deliver_at| *deliver_at > event.accepted_at)
}

/// One delivery that was told with its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owing {
    pub(crate) eid: Uuid,
    pub(crate) delivery: Uuid,
}

/// Whom the deliveries of an event are for, as its row says it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at_us: Option<i64>,
    /// Trigger and function.
    to: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Owed<'static> {
    pub(crate) fn from_text(text: Option<&str>) -> Result<Self, Error> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        serde_json::from_str(text).map_err(|error| Error::corrupt("event", error))
    }
}

impl<'a> Owed<'a> {
    pub(super) fn of(matched: &'a Matched) -> Self {
        let targets = matched.targets.iter();
        let to = targets.map(|target| {
            let trigger = Cow::from(target.trigger.as_str());
            (trigger, Cow::from(target.function.to_string()))
        });
        Self {
            due_at_us: due_at(&matched.event).map(micros),
            to: to.collect(),
        }
    }

    pub(super) fn to_text(&self) -> Result<String, Error> {
        json(self)
    }

    /// Whether this delivery of the event is among them.
    pub(crate) fn holds(&self, event: EventId, delivery: DeliveryId) -> bool {
        let mut to = self.to.iter();
        to.any(|(trigger, _)| DeliveryId::derive(event, trigger) == delivery)
    }

    /// Adds those that no row tells of.
    pub(crate) fn complete(
        &self,
        event: EventId,
        states: &mut Vec<DeliveryState>,
    ) -> Result<(), Error> {
        let with_rows = states.len();
        for (trigger, function) in &self.to {
            let mut known = states.iter().take(with_rows);
            if known.any(|state| state.trigger.as_str() == trigger) {
                continue;
            }
            states.push(DeliveryState {
                id: DeliveryId::derive(event, trigger),
                trigger: parse("event", trigger)?,
                function: parse("event", function)?,
                status: Status::Staged,
                remark: None,
                generation: 0,
                attempts: 0,
                next_attempt_at: self.due_at_us.map(from_micros).transpose()?,
                last_attempt_at: None,
                duration: None,
                response_status: None,
                error_class: None,
                error: None,
            });
        }
        Ok(())
    }

    /// The rows that were spared.
    pub(crate) fn rows(&'a self, project: &'a str, event: EventId) -> Vec<DeliveryRow<'a>> {
        let to = self.to.iter().map(|(trigger, function)| {
            let delivery = DeliveryId::derive(event, trigger).uuid();
            DeliveryRow {
                function: function.to_string(),
                next_attempt_at_us: self.due_at_us,
                ..DeliveryRow::staged(project, event.uuid(), delivery, trigger)
            }
        });
        to.collect()
    }
}
