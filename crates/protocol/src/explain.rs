//! Why an event does or does not call a function, between `domain` and what people see.

use domain::event::{Actor, Event};
use domain::event_type::EventType;
use domain::name::ProjectName;
use domain::trigger::Trigger;

use crate::fault::Fault;
use crate::functions::v1 as functions;
use crate::logs::v1 as logs;
use crate::time::from_timestamp;

/// The event that a record in the log is of, as far as conditions look at it.
///
/// # Errors
/// Names the field that cannot be understood.
pub fn recorded_event(project: &ProjectName, record: &logs::EventRecord) -> Result<Event, Fault> {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let eid = record.eid.parse().map_err(|_unreadable| {
        Fault::invalid("event.eid", &record.eid, "is not an event's id", "evt_…")
    })?;
    let event_type = EventType::parse(&record.r#type).map_err(|error| {
        let allowed = error.allowed();
        Fault::invalid("event.type", &record.r#type, error.to_string(), allowed)
    })?;
    let time = |time: &Option<prost_types::Timestamp>| {
        time.as_ref().and_then(from_timestamp).unwrap_or_default()
    };
    Ok(Event {
        eid,
        project: project.clone(),
        id: record.id.clone(),
        source: record.source.clone(),
        event_type,
        subject: text(&record.subject),
        time: time(&record.time),
        accepted_at: time(&record.accepted_at),
        data_content_type: text(&record.data_content_type),
        data: record.data.clone(),
        actor: text(&record.actor_id).map(|id| Actor {
            id,
            kind: record.actor_kind.clone(),
        }),
        partition_key: text(&record.partition_key),
        correlation_id: text(&record.correlation_id),
        causation_id: text(&record.causation_id),
        depth: record.depth,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: text(&record.traceparent),
        extensions: record.extensions.clone().into_iter().collect(),
    })
}

/// What a trigger says to an event.
pub fn explanation(trigger: &Trigger, event: &Event) -> functions::TriggerExplanation {
    let conditions = trigger.explain(event);
    functions::TriggerExplanation {
        trigger: trigger.name.to_string(),
        calls: conditions.iter().all(|condition| condition.holds),
        conditions: conditions
            .into_iter()
            .map(|condition| functions::Condition {
                what: condition.what.to_owned(),
                wanted: condition.wanted,
                found: condition.found,
                holds: condition.holds,
            })
            .collect(),
    }
}
