//! Records as rows: what a batch says several times of one delivery becomes one row of it.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use domain::delivery::{ErrorClass, Status};
use domain::event::{Actor, Event};
use domain::record::{Attempted, Matched, Record, Settled};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::owed::{self, Owed, Owing};
use crate::Error;
use crate::columns::{duration_micros, from_micros, micros, signed, without_zero};

/// The step of a delivery that was ended without an attempt: beyond every attempt.
const STEP_SETTLED: i64 = i32::MAX as i64;

/// What becomes of a delivery's row when another says something of it: the furthest stays, and
/// an ending without an attempt keeps what the last attempt left. [`DeliveryRow::absorb`] is the
/// same rule for two rows of one batch.
pub(crate) const KEEP_FURTHEST: &str = " ON CONFLICT (project, delivery_id) DO UPDATE SET \
     generation = excluded.generation, step = excluded.step, status = excluded.status, \
     remark = excluded.remark, next_attempt_at_us = excluded.next_attempt_at_us, \
     attempts = CASE WHEN excluded.step = 2147483647 AND held.generation = excluded.generation \
     THEN held.attempts ELSE excluded.attempts END, \
     last_attempt_at_us = CASE WHEN excluded.step = 2147483647 AND held.generation = excluded.generation \
     THEN held.last_attempt_at_us ELSE excluded.last_attempt_at_us END, \
     duration_us = CASE WHEN excluded.step = 2147483647 AND held.generation = excluded.generation \
     THEN held.duration_us ELSE excluded.duration_us END, \
     response_status = CASE WHEN excluded.step = 2147483647 AND held.generation = excluded.generation \
     THEN held.response_status ELSE excluded.response_status END, \
     error_class = CASE WHEN excluded.step = 2147483647 AND held.generation = excluded.generation \
     THEN held.error_class ELSE excluded.error_class END, \
     error = CASE WHEN excluded.step = 2147483647 AND held.generation = excluded.generation \
     THEN held.error ELSE excluded.error END, \
     first_started_at_us = COALESCE(held.first_started_at_us, excluded.first_started_at_us), \
     first_duration_us = COALESCE(held.first_duration_us, excluded.first_duration_us), \
     first_response_status = COALESCE(held.first_response_status, excluded.first_response_status), \
     url = COALESCE(held.url, excluded.url), \
     request_headers = COALESCE(held.request_headers, excluded.request_headers), \
     request_bytes = COALESCE(held.request_bytes, excluded.request_bytes), \
     response_headers = COALESCE(held.response_headers, excluded.response_headers), \
     response_body = COALESCE(held.response_body, excluded.response_body), \
     is_response_truncated = COALESCE(held.is_response_truncated, excluded.is_response_truncated), \
     worker = COALESCE(held.worker, excluded.worker), \
     traceparent = COALESCE(held.traceparent, excluded.traceparent) \
     WHERE (held.generation, held.step, held.status IN ('processed', 'failed', 'cancel')) \
     < (excluded.generation, excluded.step, excluded.status IN ('processed', 'failed', 'cancel')) \
     RETURNING delivery_id";

/// The columns of a delivery's row, in the order in which they are bound.
pub(crate) const INSERT_DELIVERIES: &str = "INSERT INTO deliveries AS held (project, delivery_id, \
     eid, trigger_name, function_name, generation, step, attempts, status, remark, \
     next_attempt_at_us, last_attempt_at_us, duration_us, response_status, error_class, error, \
     first_started_at_us, first_duration_us, first_response_status, url, request_headers, \
     request_bytes, response_headers, response_body, is_response_truncated, worker, traceparent)";

pub(crate) struct EventRow<'a> {
    pub(crate) project: &'a str,
    pub(crate) eid: Uuid,
    pub(crate) client_id: Option<Cow<'a, str>>,
    pub(crate) source: Cow<'a, str>,
    pub(crate) event_type: &'a str,
    pub(crate) subject: Option<Cow<'a, str>>,
    pub(crate) time_us: i64,
    pub(crate) accepted_at_us: i64,
    pub(crate) data_content_type: Option<Cow<'a, str>>,
    pub(crate) data: &'a [u8],
    pub(crate) attributes: Option<String>,
    /// Whom its deliveries are for, where they have no rows.
    pub(crate) owed: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeliveryRow<'a> {
    pub(crate) project: &'a str,
    pub(crate) delivery: Uuid,
    pub(crate) eid: Uuid,
    pub(crate) trigger: &'a str,
    pub(crate) function: String,
    pub(crate) generation: i64,
    pub(crate) step: i64,
    pub(crate) status: Status,
    pub(crate) remark: Option<Cow<'a, str>>,
    pub(crate) next_attempt_at_us: Option<i64>,
    pub(crate) last: LastAttempt<'a>,
    /// The first attempt, where it succeeded: the row holds it whole.
    pub(crate) first: Option<Box<AttemptRow<'a>>>,
}

/// What the last attempt left; empty before the first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LastAttempt<'a> {
    pub(crate) attempts: i64,
    pub(crate) at_us: Option<i64>,
    pub(crate) duration_us: Option<i64>,
    pub(crate) response_status: Option<i64>,
    pub(crate) error_class: Option<&'static str>,
    pub(crate) error: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AttemptRow<'a> {
    pub(crate) delivery: Uuid,
    pub(crate) generation: i64,
    pub(crate) number: i64,
    pub(crate) started_at_us: i64,
    pub(crate) duration_us: i64,
    pub(crate) url: Cow<'a, str>,
    pub(crate) response_status: Option<i64>,
    pub(crate) error_class: Option<&'static str>,
    pub(crate) error: Option<Cow<'a, str>>,
    pub(crate) request_headers: Cow<'a, str>,
    pub(crate) request_bytes: i64,
    pub(crate) response_headers: Cow<'a, str>,
    pub(crate) response_body: &'a [u8],
    pub(crate) is_response_truncated: bool,
    pub(crate) worker: Cow<'a, str>,
    pub(crate) traceparent: Option<Cow<'a, str>>,
    pub(crate) status: &'static str,
    pub(crate) remark: Option<Cow<'a, str>>,
    pub(crate) next_attempt_at_us: Option<i64>,
}

/// The rows of a batch, each once and in the order of their keys, so that two batches that touch
/// the same rows never wait for each other.
#[derive(Default)]
pub(crate) struct Rows<'a> {
    events: BTreeMap<(&'a str, Uuid), EventRow<'a>>,
    deliveries: BTreeMap<(&'a str, Uuid), DeliveryRow<'a>>,
    attempts: BTreeMap<(Uuid, i64, i64), AttemptRow<'a>>,
    owed: BTreeMap<&'a str, Vec<Owing>>,
    is_busy: bool,
}

/// The rows of a batch, table by table.
pub(crate) struct Tables<'a> {
    pub(crate) events: Vec<EventRow<'a>>,
    pub(crate) deliveries: Vec<DeliveryRow<'a>>,
    pub(crate) attempts: Vec<AttemptRow<'a>>,
    /// What is told with its event, project by project.
    pub(crate) owed: Vec<(&'a str, Vec<Owing>)>,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(records: &[&'a Record]) -> Result<Self, Error> {
        let mut rows = Self {
            is_busy: owed::is_busy(records),
            ..Self::default()
        };
        for record in records {
            match record {
                Record::Matched(matched) => rows.add_matched(matched)?,
                Record::Attempted(attempted) => rows.add_attempted(attempted)?,
                Record::Settled(settled) => rows.add_delivery(settled_row(settled)),
            }
        }
        Ok(rows)
    }

    pub(crate) fn into_tables(mut self) -> Tables<'a> {
        for (project, owed) in &mut self.owed {
            // Something else of the batch has made it a row.
            owed.retain(|one| !self.deliveries.contains_key(&(*project, one.delivery)));
        }
        let owed = self.owed.into_iter().filter(|(_, owed)| !owed.is_empty());
        Tables {
            owed: owed.collect(),
            events: self.events.into_values().collect(),
            deliveries: self.deliveries.into_values().collect(),
            attempts: self.attempts.into_values().collect(),
        }
    }

    fn add_matched(&mut self, matched: &'a Matched) -> Result<(), Error> {
        let event = &matched.event;
        let project = event.project.as_str();
        let eid = event.eid.uuid();
        let is_owed = self.is_busy && owed::can_be_told(matched);
        if let Entry::Vacant(entry) = self.events.entry((project, eid)) {
            let owed = is_owed.then(|| Owed::of(matched).to_text()).transpose()?;
            entry.insert(event_row(event, owed)?);
        }
        if is_owed {
            let owing = matched.targets.iter().map(|target| Owing {
                eid,
                delivery: target.delivery.uuid(),
            });
            self.owed.entry(project).or_default().extend(owing);
            return Ok(());
        }
        let next_attempt_at_us = owed::due_at(event).map(micros);
        for target in &matched.targets {
            let (generation, delivery) = (target.generation, target.delivery.uuid());
            self.add_delivery(DeliveryRow {
                function: target.function.to_string(),
                generation: i64::from(generation),
                next_attempt_at_us,
                ..DeliveryRow::staged(project, eid, delivery, target.trigger.as_str())
            });
        }
        Ok(())
    }

    fn add_attempted(&mut self, attempted: &'a Attempted) -> Result<(), Error> {
        let row = attempt_row(attempted)?;
        let is_whole_story = attempted.number == 1
            && attempted.generation == 0
            && attempted.status == Status::Processed;
        self.add_delivery(DeliveryRow {
            project: attempted.project.as_str(),
            delivery: row.delivery,
            eid: attempted.event.uuid(),
            trigger: attempted.trigger.as_str(),
            function: attempted.function.to_string(),
            generation: row.generation,
            step: row.number,
            status: attempted.status,
            remark: row.remark.clone(),
            next_attempt_at_us: row.next_attempt_at_us,
            last: LastAttempt {
                attempts: row.number,
                at_us: Some(row.started_at_us),
                duration_us: Some(row.duration_us),
                response_status: row.response_status,
                error_class: row.error_class,
                error: row.error.clone(),
            },
            first: is_whole_story.then(|| Box::new(row.clone())),
        });
        if !is_whole_story {
            // The first report of an attempt stays.
            self.attempts
                .entry((row.delivery, row.generation, row.number))
                .or_insert(row);
        }
        Ok(())
    }

    fn add_delivery(&mut self, row: DeliveryRow<'a>) {
        match self.deliveries.entry((row.project, row.delivery)) {
            Entry::Vacant(entry) => drop(entry.insert(row)),
            Entry::Occupied(mut entry) => entry.get_mut().absorb(row),
        }
    }
}

impl DeliveryRow<'_> {
    fn rank(&self) -> (i64, i64, bool) {
        (self.generation, self.step, self.status.is_final())
    }
}

impl<'a> DeliveryRow<'a> {
    /// Of a delivery nothing else is known of yet; its function is not filled in.
    pub(crate) fn staged(project: &'a str, eid: Uuid, delivery: Uuid, trigger: &'a str) -> Self {
        Self {
            project,
            delivery,
            eid,
            trigger,
            function: String::new(),
            generation: 0,
            step: 0,
            status: Status::Staged,
            remark: None,
            next_attempt_at_us: None,
            last: LastAttempt::default(),
            first: None,
        }
    }

    fn absorb(&mut self, other: Self) {
        let (mut further, before) = if other.rank() > self.rank() {
            (other, self.clone())
        } else {
            (self.clone(), other)
        };
        if further.step == STEP_SETTLED
            && before.generation == further.generation
            && further.last.attempts < before.last.attempts
        {
            further.last = before.last;
        }
        further.first = further.first.or(before.first);
        *self = further;
    }
}

/// An attempt, after the project it belongs to.
pub(crate) type OfProject<'a> = (&'a str, AttemptRow<'a>);

/// The first attempts of rows that were not written, because the table knows more already.
pub(crate) fn left_over<'a>(rows: &[DeliveryRow<'a>], written: &[Uuid]) -> Vec<OfProject<'a>> {
    if written.len() == rows.len() {
        return Vec::new();
    }
    let written: HashSet<&Uuid> = written.iter().collect();
    rows.iter()
        .filter(|row| !written.contains(&row.delivery))
        .filter_map(|row| Some((row.project, row.first.as_deref()?.clone())))
        .collect()
}

fn settled_row(settled: &Settled) -> DeliveryRow<'_> {
    DeliveryRow {
        project: settled.project.as_str(),
        delivery: settled.delivery.uuid(),
        eid: settled.event.uuid(),
        trigger: settled.trigger.as_str(),
        function: settled.function.to_string(),
        generation: i64::from(settled.generation),
        // Ordered anew, it is as far as one that was just matched.
        step: if settled.status.is_final() {
            STEP_SETTLED
        } else {
            0
        },
        status: settled.status,
        remark: Some(without_zero(&settled.remark)),
        next_attempt_at_us: None,
        last: LastAttempt::default(),
        first: None,
    }
}

fn event_row(event: &Event, owed: Option<String>) -> Result<EventRow<'_>, Error> {
    let has_own_id = event.id != event.eid.to_string();
    Ok(EventRow {
        project: event.project.as_str(),
        eid: event.eid.uuid(),
        client_id: has_own_id.then(|| without_zero(&event.id)),
        source: without_zero(&event.source),
        event_type: event.event_type.as_str(),
        subject: event.subject.as_deref().map(without_zero),
        time_us: micros(event.time),
        accepted_at_us: micros(event.accepted_at),
        data_content_type: event.data_content_type.as_deref().map(without_zero),
        data: &event.data,
        attributes: Attributes::of(event).to_text()?,
        owed,
    })
}

fn attempt_row(attempted: &Attempted) -> Result<AttemptRow<'_>, Error> {
    Ok(AttemptRow {
        delivery: attempted.delivery.uuid(),
        generation: i64::from(attempted.generation),
        number: i64::from(attempted.number),
        started_at_us: micros(attempted.started_at),
        duration_us: duration_micros(attempted.duration),
        url: without_zero(&attempted.url),
        response_status: attempted.response_status.map(i64::from),
        error_class: attempted.error_class.map(ErrorClass::as_str),
        error: attempted.error.as_deref().map(without_zero),
        request_headers: without_zero(attempted.request_headers.as_str()),
        request_bytes: signed(attempted.request_bytes),
        response_headers: without_zero(attempted.response_headers.as_str()),
        response_body: &attempted.response_body,
        is_response_truncated: attempted.is_response_truncated,
        worker: without_zero(&attempted.worker),
        traceparent: attempted.traceparent.as_deref().map(without_zero),
        status: attempted.status.as_str(),
        remark: attempted.remark.as_deref().map(without_zero),
        next_attempt_at_us: attempted.next_attempt_at.map(micros),
    })
}

pub(super) fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::corrupt("record", error))
}

/// What few events have, in one column.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    depth: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ancestry: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_at_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: BTreeMap<String, String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Attributes {
    fn of(event: &Event) -> Self {
        Self {
            actor_id: event.actor.as_ref().map(|actor| actor.id.clone()),
            actor_kind: event.actor.as_ref().map(|actor| actor.kind.clone()),
            partition_key: event.partition_key.clone(),
            correlation_id: event.correlation_id.clone(),
            causation_id: event.causation_id.clone(),
            depth: event.depth,
            ancestry: event.ancestry.clone(),
            deliver_at_us: event.deliver_at.map(micros),
            traceparent: event.traceparent.clone(),
            extensions: event.extensions.clone(),
        }
    }

    fn to_text(&self) -> Result<Option<String>, Error> {
        if *self == Self::default() {
            Ok(None)
        } else {
            json(self).map(Some)
        }
    }

    pub(crate) fn from_text(text: Option<&str>) -> Result<Self, Error> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        serde_json::from_str(text).map_err(|error| Error::corrupt("event", error))
    }

    pub(crate) fn give_to(self, event: &mut Event) {
        event.actor = self
            .actor_id
            .zip(self.actor_kind)
            .map(|(id, kind)| Actor { id, kind });
        event.partition_key = self.partition_key;
        event.correlation_id = self.correlation_id;
        event.causation_id = self.causation_id;
        event.depth = self.depth;
        event.ancestry = self.ancestry;
        event.deliver_at = self
            .deliver_at_us
            .and_then(|micros| from_micros(micros).ok());
        event.traceparent = self.traceparent;
        event.extensions = self.extensions;
    }
}
