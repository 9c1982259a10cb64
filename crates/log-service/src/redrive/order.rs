//! Whether what an operator asks for can be ordered, and why not.

use domain::Timestamp;
use domain::delivery::Status;
use domain::name::{FunctionName, ProjectName};
use domain::registry::Registry;
use protocol::fault::{Fault, FaultKind};
use storage::log_store::{DeliveryFilter, EventReference};
use storage::redrives::{RedriveKind, RedriveOrder};

use super::DELIVERIES_MAX;

const PER_SECOND_MIN: f64 = 0.1;
const PER_SECOND_MAX: f64 = 10_000.0;

/// What was asked for, as it was written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) kind: String,
    pub(crate) filter: DeliveryFilter,
    pub(crate) to_function: String,
    pub(crate) per_second: f64,
}

/// Makes an order of it.
///
/// # Errors
/// Names the field, its value and what is allowed.
pub(crate) fn read(
    asked: Asked,
    project: &ProjectName,
    registry: &Registry,
    now: Timestamp,
) -> Result<RedriveOrder, Fault> {
    let kind = RedriveKind::parse(&asked.kind).ok_or_else(|| {
        let allowed = RedriveKind::ALL.map(RedriveKind::as_str).join(", ");
        Fault::invalid("kind", &asked.kind, "is no kind of order", allowed)
    })?;
    let filter = match kind {
        RedriveKind::Redrive => of_deliveries(asked.filter)?,
        RedriveKind::Replay => of_events(asked.filter)?,
    };
    let to_function = function("to_function", &asked.to_function, project, registry)?;
    if kind == RedriveKind::Replay && to_function.is_none() {
        let allowed = "the function that events are brought to, [PACKAGE/]NAME";
        return Err(Fault::missing("to_function", allowed));
    }
    Ok(RedriveOrder {
        kind,
        filter: window(filter, now)?,
        to_function,
        per_second: pace(asked.per_second)?,
    })
}

/// What does not add up to an order once it is counted.
///
/// # Errors
/// When there is nothing that could be ordered, or more than one order is for.
pub(crate) fn check_count(order: &RedriveOrder, count: u64) -> Result<(), Fault> {
    if count > DELIVERIES_MAX {
        let value = format!("more than {DELIVERIES_MAX}");
        let allowed = format!("at most {DELIVERIES_MAX} at a time: narrow the time window");
        return Err(Fault::invalid("filter", value, "matches too many", allowed));
    }
    match &order.filter.event {
        Some(EventReference::Client(id)) if count == 0 => Err(none_of(order, id)),
        Some(EventReference::Internal(id)) if count == 0 => Err(none_of(order, id)),
        Some(EventReference::Delivery(id)) if count == 0 => Err(none_of(order, id)),
        Some(_) | None => Ok(()),
    }
}

fn none_of(order: &RedriveOrder, id: impl std::fmt::Display) -> Fault {
    let message = match order.kind {
        RedriveKind::Redrive => format!("no delivery of {id} has ended as the order says"),
        RedriveKind::Replay => format!("event {id} does not exist"),
    };
    Fault::new(FaultKind::NotFound, message)
}

fn of_deliveries(mut filter: DeliveryFilter) -> Result<DeliveryFilter, Fault> {
    const ALLOWED: [Status; 2] = [Status::Failed, Status::Cancel];
    if filter.statuses.is_empty() {
        filter.statuses = vec![Status::Failed];
    }
    for status in &filter.statuses {
        if !ALLOWED.contains(status) {
            let message = "is no status to redrive from; `replay` brings any event to a function";
            let allowed = ALLOWED.map(Status::as_str).join(", ");
            return Err(Fault::invalid(
                "filter.statuses",
                status.as_str(),
                message,
                allowed,
            ));
        }
    }
    Ok(filter)
}

fn of_events(filter: DeliveryFilter) -> Result<DeliveryFilter, Fault> {
    let unused = |field: &str, value: String| {
        let message = "does not apply: events are replayed whatever became of them";
        Err(Fault::invalid(
            field,
            value,
            message,
            "event, type, since, until",
        ))
    };
    if let Some(status) = filter.statuses.first() {
        return unused("filter.statuses", status.as_str().to_owned());
    }
    if let Some(function) = &filter.function {
        return unused("filter.function", function.to_string());
    }
    if let Some(trigger) = &filter.trigger {
        return unused("filter.trigger", trigger.to_string());
    }
    Ok(filter)
}

/// An order is about the past, as it is when it is given.
fn window(mut filter: DeliveryFilter, now: Timestamp) -> Result<DeliveryFilter, Fault> {
    if filter.since.is_none() && filter.event.is_none() {
        let allowed = "a time, or filter.event for one event or delivery";
        return Err(Fault::missing("filter.since", allowed));
    }
    let until = filter.until.map_or(now, |until| until.min(now));
    if let Some(since) = filter.since
        && since >= until
    {
        let allowed = format!("a time before {until}");
        return Err(Fault::invalid(
            "filter.since",
            since.to_string(),
            "leaves no time between",
            allowed,
        ));
    }
    filter.until = Some(until);
    Ok(filter)
}

fn function(
    field: &str,
    text: &str,
    project: &ProjectName,
    registry: &Registry,
) -> Result<Option<FunctionName>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let name: FunctionName = text.parse().map_err(|error| {
        let allowed = "[PACKAGE/]NAME of lower-case letters, digits and '-'";
        Fault::invalid(field, text, format!("{error}"), allowed)
    })?;
    match registry.function(project, &name) {
        Some(_) => Ok(Some(name)),
        None => Err(Fault {
            field: Some(field.to_owned()),
            ..Fault::not_found("function", &name)
        }),
    }
}

fn pace(per_second: f64) -> Result<Option<f64>, Fault> {
    if per_second == 0.0 {
        return Ok(None);
    }
    if (PER_SECOND_MIN..=PER_SECOND_MAX).contains(&per_second) {
        return Ok(Some(per_second));
    }
    let allowed = format!("0 for no limit, or {PER_SECOND_MIN} to {PER_SECOND_MAX}");
    Err(Fault::invalid(
        "per_second",
        per_second.to_string(),
        "is no pace",
        allowed,
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn since() -> DeliveryFilter {
        DeliveryFilter {
            since: Some(NOW - Duration::from_hours(1)),
            ..DeliveryFilter::default()
        }
    }

    fn read(asked: Asked) -> Result<RedriveOrder, Fault> {
        super::read(
            asked,
            &"default".parse().unwrap(),
            &Registry::default(),
            NOW,
        )
    }

    fn redrive(filter: DeliveryFilter) -> Asked {
        Asked {
            kind: "redrive".to_owned(),
            filter,
            ..Asked::default()
        }
    }

    #[test]
    fn an_order_is_about_what_failed_up_to_now() {
        let order = read(redrive(since())).unwrap();
        assert_eq!(order.filter.statuses, [Status::Failed]);
        assert_eq!((order.filter.until, order.per_second), (Some(NOW), None));
        let later = DeliveryFilter {
            until: Some(NOW + Duration::from_hours(1)),
            ..since()
        };
        let order = read(redrive(later)).unwrap();
        assert_eq!(
            order.filter.until,
            Some(NOW),
            "what is to come is no part of it"
        );
    }

    #[test]
    fn what_cannot_be_ordered_names_the_field_and_what_is_allowed() {
        let with_status = |status| DeliveryFilter {
            statuses: vec![status],
            ..since()
        };
        let replay = |filter| Asked {
            kind: "replay".to_owned(),
            ..redrive(filter)
        };
        let cases = [
            (redrive(DeliveryFilter::default()), "filter.since"),
            (redrive(with_status(Status::Staged)), "filter.statuses"),
            (redrive(with_status(Status::Processed)), "filter.statuses"),
            (
                redrive(DeliveryFilter {
                    since: Some(NOW),
                    ..DeliveryFilter::default()
                }),
                "filter.since",
            ),
            (
                Asked {
                    kind: "again".to_owned(),
                    ..redrive(since())
                },
                "kind",
            ),
            (
                Asked {
                    per_second: -1.0,
                    ..redrive(since())
                },
                "per_second",
            ),
            (
                Asked {
                    per_second: f64::NAN,
                    ..redrive(since())
                },
                "per_second",
            ),
            (
                Asked {
                    to_function: "unknown".to_owned(),
                    ..redrive(since())
                },
                "to_function",
            ),
            (
                Asked {
                    to_function: "No Name".to_owned(),
                    ..redrive(since())
                },
                "to_function",
            ),
            (replay(since()), "to_function"),
            (replay(with_status(Status::Failed)), "filter.statuses"),
            (
                replay(DeliveryFilter {
                    trigger: Some("welcome".parse().unwrap()),
                    ..since()
                }),
                "filter.trigger",
            ),
        ];
        for (asked, field) in cases {
            let fault = read(asked.clone()).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(field), "{asked:?}: {fault}");
        }
    }

    #[test]
    fn an_order_has_an_upper_limit_and_one_event_has_to_be_there() {
        let order = read(redrive(since())).unwrap();
        assert_eq!(check_count(&order, 0), Ok(()));
        assert_eq!(check_count(&order, DELIVERIES_MAX), Ok(()));
        let fault = check_count(&order, DELIVERIES_MAX + 1).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some("filter"));
        let one = DeliveryFilter {
            event: Some(EventReference::Client("order-17".to_owned())),
            ..DeliveryFilter::default()
        };
        let fault = check_count(&read(redrive(one)).unwrap(), 0).unwrap_err();
        assert_eq!(fault.kind, FaultKind::NotFound);
        assert!(fault.message.contains("order-17"), "{fault}");
    }
}
