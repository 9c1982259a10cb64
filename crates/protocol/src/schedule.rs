//! Schedules, between `domain` and what people see.

use domain::format::Format;
use domain::schedule::{Payload, Schedule};
use domain::trigger::Trigger;

use crate::schedules::v1 as schedules;
use crate::time::to_timestamp;

/// A schedule as it is shown, with what its trigger says of the function.
pub fn shown_schedule(schedule: &Schedule, trigger: Option<&Trigger>) -> schedules::Schedule {
    let (parameters, payload) = match &schedule.payload {
        Payload::None => (String::new(), String::new()),
        Payload::Parameters(json) => (json.clone(), String::new()),
        Payload::Text(text) => (String::new(), text.clone()),
    };
    let format = trigger.and_then(|trigger| trigger.format);
    schedules::Schedule {
        name: schedule.name.to_string(),
        cron: schedule.cron.to_string(),
        dialect: schedule.cron.dialect().as_str().to_owned(),
        time_zone: schedule.time_zone.clone(),
        function: trigger
            .map(|trigger| trigger.function.to_string())
            .unwrap_or_default(),
        parameters,
        payload,
        enabled: Some(schedule.is_enabled),
        format: format.map(Format::as_str).unwrap_or_default().to_owned(),
        retry: trigger.map(|trigger| (&trigger.retry).into()),
        depth_max: trigger.map(|trigger| trigger.depth_max),
        job: schedule.job.clone(),
        package: schedule
            .package
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        next_at: schedule.next_at.map(to_timestamp),
        last_at: schedule.last_at.map(to_timestamp),
        created_at: Some(to_timestamp(schedule.created_at)),
        updated_at: Some(to_timestamp(schedule.updated_at)),
    }
}
