//! Turns what people ask for into schedules with their triggers, and says precisely what is wrong.

use domain::event::AHEAD_MAX;
use domain::name::{Name, ProjectName};
use domain::retry::RetryPolicy;
use domain::schedule::{
    Cron, Dialect, JOB_BYTES_MAX, PAYLOAD_BYTES_MAX, Payload, Schedule, TimeZone,
};
use domain::trigger::{DEPTH_MAX, Trigger};
use jiff::Timestamp;
use protocol::fault::Fault;
use protocol::function::{format, retry_policy};
use protocol::schedules::v1 as wire;
use protocol::well_known::FieldMask;

use super::{depth_max, function_in, paths, unknown_path};
use crate::error::of_name;

const UTC: &str = "UTC";

const FIELDS: &str = "cron, dialect, time_zone, function, parameters, payload, enabled, format, \
     retry, depth_max";

/// A new schedule, and the trigger of its name.
///
/// # Errors
/// Names the field that cannot be taken.
pub(crate) fn schedule(
    project: &ProjectName,
    package: Option<&Name>,
    wanted: &wire::Schedule,
    now: Timestamp,
) -> Result<(Schedule, Trigger), Fault> {
    if wanted.name.is_empty() {
        return Err(Fault::missing("name", "a name of 3 to 63 characters"));
    }
    let name: Name = wanted
        .name
        .parse()
        .map_err(|error| of_name("name", error))?;
    let job = match wanted.job.as_str() {
        "" => name.to_string(),
        job if job.len() > JOB_BYTES_MAX => {
            let allowed = format!("at most {JOB_BYTES_MAX} bytes");
            return Err(Fault::invalid("job", job, "is too long", allowed));
        }
        job => job.to_owned(),
    };
    let function = function_in(package, "function", &wanted.function)?;
    let cron = cron(wanted)?;
    let (time_zone, zone) = zone(&wanted.time_zone, cron.dialect())?;
    let trigger = Trigger {
        format: format(&wanted.format)?,
        retry: retry_policy(wanted.retry.as_ref(), &RetryPolicy::default())?,
        depth_max: depth_max(wanted.depth_max.or(Some(DEPTH_MAX)))?,
        ..Trigger::new(project.clone(), name.clone(), function, now)
    };
    let schedule = Schedule {
        project: project.clone(),
        name,
        package: package.cloned(),
        job,
        next_at: cron.next_after(now, &zone),
        last_at: None,
        cron,
        time_zone,
        payload: payload(wanted)?,
        is_enabled: wanted.enabled.unwrap_or(true),
        created_at: now,
        updated_at: now,
    };
    Ok((schedule, trigger.of_schedule()))
}

/// Changes the fields that the mask names.
///
/// # Errors
/// Names the field that cannot be taken.
pub(crate) fn change_schedule(
    schedule: &mut Schedule,
    trigger: &mut Trigger,
    wanted: &wire::Schedule,
    mask: Option<&FieldMask>,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut given = wire::Schedule {
        cron: schedule.cron.to_string(),
        dialect: schedule.cron.dialect().as_str().to_owned(),
        time_zone: schedule.time_zone.clone(),
        ..wire::Schedule::default()
    };
    for path in paths(mask, FIELDS)? {
        match path {
            "cron" => given.cron.clone_from(&wanted.cron),
            "dialect" => given.dialect.clone_from(&wanted.dialect),
            "time_zone" => given.time_zone.clone_from(&wanted.time_zone),
            "function" => trigger.function = function_in(None, "function", &wanted.function)?,
            "parameters" | "payload" => schedule.payload = payload(wanted)?,
            "enabled" => {
                let missing = || Fault::missing("enabled", "true, false");
                schedule.is_enabled = wanted.enabled.ok_or_else(missing)?;
            }
            "format" => trigger.format = format(&wanted.format)?,
            "retry" => {
                trigger.retry = retry_policy(wanted.retry.as_ref(), &RetryPolicy::default())?;
            }
            "depth_max" => trigger.depth_max = depth_max(wanted.depth_max)?,
            other => return Err(unknown_path(other, FIELDS)),
        }
    }
    schedule.cron = cron(&given)?;
    let (name, zone) = zone(&given.time_zone, schedule.cron.dialect())?;
    schedule.time_zone = name;
    // From when it is switched on or changed; what it missed meanwhile is not made up for.
    schedule.next_at = schedule.cron.next_after(now, &zone);
    schedule.updated_at = now;
    trigger.updated_at = now;
    Ok(())
}

fn cron(wanted: &wire::Schedule) -> Result<Cron, Fault> {
    let dialect = match wanted.dialect.as_str() {
        "" => Dialect::default(),
        text => Dialect::parse(text).ok_or_else(|| {
            let allowed = Dialect::ALL.map(Dialect::as_str).join(", ");
            Fault::invalid("dialect", text, "is not a dialect of cron", allowed)
        })?,
    };
    let allowed = match dialect {
        Dialect::Cron => "minute hour day month weekday, such as 0 3 * * MON-FRI",
        Dialect::Kii => "minute hour day month weekday with * - / , and names",
        Dialect::Yandex => "minute hour day month weekday year, with ? for day or weekday",
    };
    if wanted.cron.is_empty() {
        return Err(Fault::missing("cron", allowed));
    }
    Cron::parse(&wanted.cron, dialect)
        .map_err(|error| Fault::invalid("cron", &wanted.cron, error.to_string(), allowed))
}

/// The zone, and its name as it is kept.
fn zone(name: &str, dialect: Dialect) -> Result<(String, TimeZone), Fault> {
    if name.is_empty() || name == UTC {
        return Ok((UTC.to_owned(), TimeZone::UTC));
    }
    if dialect != Dialect::Cron {
        let message = "does not go with this dialect, whose times are in UTC";
        return Err(Fault::invalid("time_zone", name, message, UTC));
    }
    match TimeZone::get(name) {
        Ok(zone) => Ok((name.to_owned(), zone)),
        Err(_unknown) => {
            let message = "is not in the database of time zones";
            let allowed = "a name such as Europe/Berlin, or UTC";
            Err(Fault::invalid("time_zone", name, message, allowed))
        }
    }
}

fn payload(wanted: &wire::Schedule) -> Result<Payload, Fault> {
    let (parameters, text) = (&wanted.parameters, &wanted.payload);
    let too_long = |field: &str, value: &str| {
        let allowed = format!("at most {PAYLOAD_BYTES_MAX} bytes");
        Err(Fault::invalid(field, value, "is too long", allowed))
    };
    match (parameters.as_str(), text.as_str()) {
        ("", "") => Ok(Payload::None),
        (parameters, "") => {
            if parameters.len() > PAYLOAD_BYTES_MAX {
                return too_long("parameters", parameters);
            }
            if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(parameters) {
                let message = format!("is not JSON: {error}");
                return Err(Fault::invalid(
                    "parameters",
                    parameters,
                    message,
                    "a JSON value",
                ));
            }
            Ok(Payload::Parameters(parameters.to_owned()))
        }
        ("", text) if text.len() > PAYLOAD_BYTES_MAX => too_long("payload", text),
        ("", text) => Ok(Payload::Text(text.to_owned())),
        (_, text) => {
            let message = "cannot go together with parameters";
            Err(Fault::invalid("payload", text, message, "one of the two"))
        }
    }
}

/// What was missed for longer could not be tried for as long as deliveries are tried.
const _: () = assert!(domain::schedule::MISSED_MAX.as_secs() < AHEAD_MAX.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> wire::Schedule {
        wire::Schedule {
            name: "nightly".to_owned(),
            cron: "0 3 * * *".to_owned(),
            function: "clean-up".to_owned(),
            ..wire::Schedule::default()
        }
    }

    fn define(wanted: &wire::Schedule) -> Result<(Schedule, Trigger), Fault> {
        let now = "2026-11-26T00:00:00Z".parse().unwrap();
        schedule(&"acme".parse().unwrap(), None, wanted, now)
    }

    #[test]
    fn a_schedule_strikes_in_its_time_zone() {
        let (schedule, trigger) = define(&wanted()).unwrap();
        assert_eq!(
            schedule.next_at.unwrap().to_string(),
            "2026-11-26T03:00:00Z"
        );
        assert_eq!(trigger.name, schedule.name);
        let berlin = wire::Schedule {
            time_zone: "Europe/Berlin".to_owned(),
            ..wanted()
        };
        let (schedule, _) = define(&berlin).unwrap();
        assert_eq!(
            schedule.next_at.unwrap().to_string(),
            "2026-11-26T02:00:00Z"
        );
    }

    #[test]
    fn each_field_that_cannot_be_taken_is_named() {
        let of = |change: fn(&mut wire::Schedule)| {
            let mut wanted = wanted();
            change(&mut wanted);
            define(&wanted).unwrap_err().field.unwrap()
        };
        assert_eq!(of(|one| one.name.clear()), "name");
        assert_eq!(of(|one| one.name = "No".to_owned()), "name");
        assert_eq!(of(|one| one.cron.clear()), "cron");
        assert_eq!(of(|one| one.cron = "0 0 0 * * *".to_owned()), "cron");
        assert_eq!(of(|one| one.dialect = "quartz".to_owned()), "dialect");
        assert_eq!(
            of(|one| one.time_zone = "Mars/Olympus".to_owned()),
            "time_zone"
        );
        assert_eq!(of(|one| one.function.clear()), "function");
        assert_eq!(of(|one| one.parameters = "{".to_owned()), "parameters");
        assert_eq!(of(|one| one.payload = "x".repeat(200_000)), "payload");
        assert_eq!(of(|one| one.job = "x".repeat(300)), "job");
        assert_eq!(of(|one| one.format = "xml".to_owned()), "format");
        assert_eq!(of(|one| one.depth_max = Some(100)), "depth_max");
        let both = of(|one| {
            one.parameters = "1".to_owned();
            one.payload = "text".to_owned();
        });
        assert_eq!(both, "payload");
        let zone = of(|one| {
            one.dialect = "kii".to_owned();
            one.time_zone = "Europe/Berlin".to_owned();
        });
        assert_eq!(zone, "time_zone");
    }
}
