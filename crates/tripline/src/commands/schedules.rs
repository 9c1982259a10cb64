//! `tripline schedules`: clocks that call functions, and what came of it.

use protocol::logs::v1 as logs;
use protocol::schedules::v1 as wire;
use serde::Serialize;

use super::functions::Deleted;
use super::triggers::retry_policy;
use super::{read_data, read_time, show_time};
use crate::command_line::{Connection, Payload, Schedules, Times};
use crate::failure::Failure;
use crate::output::{self, Row};

/// Type of the events.
const FIRED: &str = "timer.schedule.fire";

/// A schedule as printed.
#[derive(Debug, Serialize)]
struct ShownSchedule {
    name: String,
    job: String,
    package: String,
    cron: String,
    dialect: String,
    time_zone: String,
    function: String,
    parameters: String,
    payload: String,
    enabled: bool,
    format: String,
    depth_max: Option<u32>,
    next_at: String,
    last_at: String,
    created_at: String,
    updated_at: String,
}

impl From<wire::Schedule> for ShownSchedule {
    fn from(schedule: wire::Schedule) -> Self {
        Self {
            next_at: show_time(schedule.next_at.as_ref()),
            last_at: show_time(schedule.last_at.as_ref()),
            created_at: show_time(schedule.created_at.as_ref()),
            updated_at: show_time(schedule.updated_at.as_ref()),
            name: schedule.name,
            job: schedule.job,
            package: schedule.package,
            cron: schedule.cron,
            dialect: schedule.dialect,
            time_zone: schedule.time_zone,
            function: schedule.function,
            parameters: schedule.parameters,
            payload: schedule.payload,
            enabled: schedule.enabled.unwrap_or(true),
            format: schedule.format,
            depth_max: schedule.depth_max,
        }
    }
}

impl Row for ShownSchedule {
    const HEADINGS: &'static [&'static str] = &[
        "NAME", "CRON", "ZONE", "FUNCTION", "NEXT", "LAST", "ENABLED",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.cron.clone(),
            self.time_zone.clone(),
            self.function.clone(),
            self.next_at.clone(),
            self.last_at.clone(),
            if self.enabled { "yes" } else { "no" }.to_owned(),
        ]
    }
}

impl ShownSchedule {
    fn print(&self, connection: &Connection) -> Result<(), Failure> {
        let enabled = if self.enabled { "yes" } else { "no" };
        let fields = [
            ("schedule", self.name.clone()),
            ("job", self.job.clone()),
            ("package", self.package.clone()),
            ("cron", format!("{} ({})", self.cron, self.dialect)),
            ("time zone", self.time_zone.clone()),
            ("function", self.function.clone()),
            ("parameters", self.parameters.clone()),
            ("payload", self.payload.clone()),
            ("format", self.format.clone()),
            ("enabled", enabled.to_owned()),
            ("next", self.next_at.clone()),
            ("last", self.last_at.clone()),
            ("created", self.created_at.clone()),
            ("updated", self.updated_at.clone()),
        ];
        output::one(connection.output, self, &fields)
    }
}

/// One run of a schedule.
#[derive(Debug, Serialize)]
struct ShownRun {
    /// dlv_…
    id: String,
    eid: String,
    job: String,
    started: String,
    /// Empty while it is not over.
    finished: String,
    status: String,
    attempts: u32,
    error: String,
}

impl Row for ShownRun {
    const HEADINGS: &'static [&'static str] = &[
        "ID", "JOB", "STARTED", "FINISHED", "STATUS", "TRIES", "ERROR",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.job.clone(),
            self.started.clone(),
            self.finished.clone(),
            self.status.clone(),
            self.attempts.to_string(),
            self.error.clone(),
        ]
    }
}

fn shown_run(line: logs::DeliveryLine, job: &str) -> ShownRun {
    let is_over = matches!(line.status.as_str(), "processed" | "failed" | "cancel");
    let last = line
        .last_attempt_at
        .as_ref()
        .and_then(protocol::from_timestamp);
    let took = std::time::Duration::from_micros(line.duration_us);
    let finished = last.and_then(|last| last.saturating_add(took).ok());
    ShownRun {
        started: show_time(line.accepted_at.as_ref()),
        finished: match finished.filter(|_| is_over) {
            Some(finished) => format!("{finished:.3}"),
            None => String::new(),
        },
        id: line.delivery_id,
        eid: line.eid,
        job: job.to_owned(),
        status: line.status,
        attempts: line.attempts,
        error: match line.error.as_str() {
            "" => line.remark,
            _ => line.error,
        },
    }
}

/// A schedule that was run.
#[derive(Debug, Serialize)]
struct Run<'a> {
    name: &'a str,
    eid: String,
}

#[expect(clippy::too_many_lines, reason = "one command after the other")]
pub(crate) async fn run(command: Schedules, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.schedules()?;
    match command {
        Schedules::Create {
            name,
            function,
            times,
            payload,
            format,
            retry,
            disabled,
        } => {
            let mut schedule = described(name, times, payload)?;
            schedule.function = function;
            schedule.format = format.unwrap_or_default();
            schedule.retry = Some(retry_policy(&retry));
            schedule.enabled = Some(!disabled);
            let request = wire::CreateScheduleRequest {
                schedule: Some(schedule),
            };
            let schedule = client.create_schedule(request).await?.into_inner();
            ShownSchedule::from(schedule).print(connection)
        }
        Schedules::List { package } => list(package.unwrap_or_default(), connection).await,
        Schedules::Get { name } => {
            let request = wire::GetScheduleRequest { name };
            let schedule = client.get_schedule(request).await?.into_inner();
            ShownSchedule::from(schedule).print(connection)
        }
        Schedules::Update {
            name,
            function,
            times,
            payload,
            format,
            enabled,
        } => {
            let paths = [
                ("function", function.is_some()),
                ("cron", times.cron.is_some()),
                ("dialect", times.dialect.is_some()),
                ("time_zone", times.time_zone.is_some()),
                ("parameters", payload.parameters.is_some()),
                ("payload", payload.payload.is_some()),
                ("format", format.is_some()),
                ("enabled", enabled.is_some()),
            ];
            let mut schedule = described(name, times, payload)?;
            schedule.function = function.unwrap_or_default();
            schedule.format = format.unwrap_or_default();
            schedule.enabled = enabled;
            update(schedule, &paths, connection).await
        }
        Schedules::Delete { name } => {
            let request = wire::DeleteScheduleRequest { name: name.clone() };
            client.delete_schedule(request).await?;
            let deleted = Deleted { deleted: &name };
            output::one(connection.output, &deleted, &[("deleted", name.clone())])
        }
        Schedules::RunNow { name } => {
            let request = wire::RunScheduleRequest { name: name.clone() };
            let eid = client.run_schedule(request).await?.into_inner().eid;
            let fields = [("schedule", name.clone()), ("event", eid.clone())];
            output::one(connection.output, &Run { name: &name, eid }, &fields)
        }
        Schedules::History {
            name,
            from,
            to,
            limit,
        } => history(name, [from, to], limit, connection).await,
    }
}

fn described(name: String, times: Times, payload: Payload) -> Result<wire::Schedule, Failure> {
    let parameters = payload.parameters.as_deref().map(read_data).transpose()?;
    let parameters = String::from_utf8(parameters.unwrap_or_default())
        .map_err(|_odd| Failure::usage("--parameters: this is not text"))?;
    Ok(wire::Schedule {
        name,
        cron: times.cron.unwrap_or_default(),
        dialect: times.dialect.unwrap_or_default(),
        time_zone: times.time_zone.unwrap_or_default(),
        parameters,
        payload: payload.payload.unwrap_or_default(),
        ..wire::Schedule::default()
    })
}

async fn update(
    schedule: wire::Schedule,
    named: &[(&str, bool)],
    connection: &Connection,
) -> Result<(), Failure> {
    let paths = named.iter().filter(|(_, is_named)| *is_named);
    let paths: Vec<String> = paths.map(|(path, _)| (*path).to_owned()).collect();
    if paths.is_empty() {
        let message = "nothing to change: see `tripline schedules update --help`";
        return Err(Failure::usage(message));
    }
    let request = wire::UpdateScheduleRequest {
        schedule: Some(schedule),
        update_mask: Some(protocol::well_known::FieldMask { paths }),
    };
    let mut client = connection.schedules()?;
    let schedule = client.update_schedule(request).await?.into_inner();
    ShownSchedule::from(schedule).print(connection)
}

async fn list(package: String, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.schedules()?;
    let mut shown = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListSchedulesRequest {
            package: package.clone(),
            page_size: 1000,
            page_token,
        };
        let page = client.list_schedules(request).await?.into_inner();
        shown.extend(page.schedules.into_iter().map(ShownSchedule::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output::rows(connection.output, &shown);
        }
    }
}

/// What the log tells of the deliveries of the schedule's trigger.
async fn history(
    name: String,
    times: [Option<String>; 2],
    limit: u32,
    connection: &Connection,
) -> Result<(), Failure> {
    let [from, to] = times;
    let time = |option: &str, text: Option<String>| {
        let time = text.map(|text| read_time(option, &text));
        time.transpose()
    };
    let filter = logs::DeliveryFilter {
        r#type: FIRED.to_owned(),
        trigger: name.clone(),
        since: time("--from", from)?,
        until: time("--to", to)?,
        ..logs::DeliveryFilter::default()
    };
    let request = wire::GetScheduleRequest { name };
    let schedule = connection
        .schedules()?
        .get_schedule(request)
        .await?
        .into_inner();
    let mut client = connection.logs()?;
    let mut shown: Vec<ShownRun> = Vec::new();
    let mut page_token = String::new();
    loop {
        let wanted = limit.saturating_sub(u32::try_from(shown.len()).unwrap_or(u32::MAX));
        let request = logs::ListDeliveriesRequest {
            filter: Some(filter.clone()),
            page_size: wanted.clamp(1, 1000),
            page_token,
        };
        let page = client.list_deliveries(request).await?.into_inner();
        let lines = page.deliveries.into_iter();
        shown.extend(lines.map(|line| shown_run(line, &schedule.job)));
        page_token = page.next_page_token;
        let is_full = u32::try_from(shown.len()).unwrap_or(u32::MAX) >= limit;
        if page_token.is_empty() || is_full {
            return output::rows(connection.output, &shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_33_a_run_tells_id_start_end_status_and_job() {
        let at = |text: &str| Some(protocol::to_timestamp(text.parse().unwrap()));
        let line = logs::DeliveryLine {
            delivery_id: "dlv_1".to_owned(),
            accepted_at: at("2026-11-26T03:00:00Z"),
            last_attempt_at: at("2026-11-26T03:00:01Z"),
            duration_us: 500_000,
            status: "processed".to_owned(),
            attempts: 1,
            ..logs::DeliveryLine::default()
        };
        let run = shown_run(line.clone(), "Nightly");
        assert_eq!((run.id.as_str(), run.job.as_str()), ("dlv_1", "Nightly"));
        assert_eq!(run.started, "2026-11-26T03:00:00.000Z");
        assert_eq!(run.finished, "2026-11-26T03:00:01.500Z");
        assert_eq!(run.status, "processed");
        let staged = logs::DeliveryLine {
            status: "staged".to_owned(),
            ..line
        };
        assert_eq!(
            shown_run(staged, "Nightly").finished,
            "",
            "it is not over yet"
        );
    }
}
