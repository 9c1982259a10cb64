//! Schedules: a clock that strikes by a cron expression, and the event that each strike is.

mod cron;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
pub use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::value::RawValue;

pub use self::cron::{Cron, CronError, Dialect};
use crate::event::Event;
use crate::event_type::EventType;
use crate::id::EventId;
use crate::name::{Name, ProjectName};
use crate::trigger::Trigger;

/// A schedule's name within its project; its trigger has the same.
pub type ScheduleName = Name;

/// What goes with each strike may have so many bytes.
pub const PAYLOAD_BYTES_MAX: usize = 100 * 1024;

/// What other systems call a job may have so many bytes.
pub const JOB_BYTES_MAX: usize = 256;

/// A strike that was missed by more than this is left out: what it leads to could not be tried
/// for as long as deliveries are tried.
pub const MISSED_MAX: Duration = Duration::from_hours(5 * 24);

/// Strikes missed in a row that are walked through at most; the rest is found by going back.
const WALK_MAX: usize = 10_000;

/// A schedule as configured. Its trigger, of the same name, says which function is called and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub project: ProjectName,
    pub name: ScheduleName,
    /// The package whose version it belongs to, if it belongs to one.
    pub package: Option<Name>,
    /// What the system calls it that it comes from; else its name.
    pub job: String,
    pub cron: Cron,
    /// Name in the IANA's database of time zones.
    pub time_zone: String,
    pub payload: Payload,
    pub is_enabled: bool,
    /// When it strikes next; `None` when never again.
    pub next_at: Option<Timestamp>,
    /// The time of its last strike.
    pub last_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What goes with each strike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Payload {
    #[default]
    None,
    /// A JSON value, as it was written.
    Parameters(String),
    /// A text, as Yandex Cloud's timers have it.
    Text(String),
}

/// What follows when a schedule is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// The time it strikes for; `None` when all that was missed is too long ago.
    pub at: Option<Timestamp>,
    pub next_at: Option<Timestamp>,
}

/// The data of the event.
#[derive(Serialize)]
struct Told<'a> {
    trigger_id: &'a str,
    job: &'a str,
    fire_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
}

impl Schedule {
    /// What follows now from a schedule that was to strike at `due`. Of several strikes that were
    /// missed only the latest is made up for.
    ///
    /// A clock that is put back changes nothing: what has struck is behind `next_at` for good.
    pub fn strike(&self, due: Timestamp, zone: &TimeZone, now: Timestamp) -> Strike {
        let mut latest = due;
        let mut next = self.cron.next_after(latest, zone);
        for _ in 0..WALK_MAX {
            match next {
                Some(at) if at <= now => latest = at,
                Some(_) | None => break,
            }
            next = self.cron.next_after(latest, zone);
        }
        if next.is_some_and(|at| at <= now) {
            latest = self.cron.last_before(now, zone).unwrap_or(latest);
            next = self.cron.next_after(latest.max(now), zone);
        }
        let is_kept = latest
            .saturating_add(MISSED_MAX)
            .is_ok_and(|end| end >= now);
        Strike {
            at: Some(latest).filter(|_| is_kept),
            next_at: next,
        }
    }

    /// The event of one strike. Its id is derived: whoever emits it twice leads to the same
    /// deliveries.
    pub fn event(&self, at: Timestamp) -> Event {
        let name = self.name.as_str();
        let eid = EventId::about(at, &[self.project.as_str(), "schedule", name]);
        let parameters = match &self.payload {
            Payload::Parameters(json) => serde_json::from_str(json).ok(),
            Payload::None | Payload::Text(_) => None,
        };
        let payload = match &self.payload {
            Payload::Text(text) => Some(text.as_str()),
            Payload::None | Payload::Parameters(_) => None,
        };
        let told = Told {
            trigger_id: name,
            job: &self.job,
            fire_time: at.to_string(),
            parameters,
            payload,
        };
        Event {
            eid,
            project: self.project.clone(),
            id: eid.to_string(),
            source: format!("/projects/{}/schedules", self.project),
            event_type: EventType::schedule_fired(),
            subject: Some(subject(&self.name)),
            time: at,
            accepted_at: at,
            data_content_type: Some("application/json".to_owned()),
            // All of it is text that can be written.
            data: Bytes::from(serde_json::to_vec(&told).unwrap_or_default()),
            actor: None,
            partition_key: None,
            correlation_id: None,
            causation_id: None,
            depth: 0,
            ancestry: Vec::new(),
            reply_to: None,
            deliver_at: None,
            traceparent: None,
            extensions: BTreeMap::new(),
        }
    }
}

impl Trigger {
    /// The same trigger, called by the schedule of its own name and by nothing else.
    #[must_use]
    pub fn of_schedule(mut self) -> Self {
        self.on = vec![EventType::schedule_fired().into()];
        // A name is no more than letters, digits and '-'.
        self.subject = subject(&self.name).parse().ok();
        self
    }
}

/// The schedule that an event is a strike of; `None` for any other event.
pub fn schedule_of(event: &Event) -> Option<ScheduleName> {
    let name = event.subject.as_deref()?.strip_prefix("schedules/")?;
    if event.event_type != EventType::schedule_fired() {
        return None;
    }
    name.parse().ok()
}

/// Subject of the events of a schedule.
pub fn subject(name: &ScheduleName) -> String {
    format!("schedules/{name}")
}

#[cfg(test)]
mod tests;
