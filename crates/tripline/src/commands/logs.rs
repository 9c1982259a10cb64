//! `tripline logs`: what happened, as a list, live, or one event with everything known of it.

use protocol::logs::v1 as logs;
use serde::Serialize;

use super::{read_time, show_micros, show_time};
use crate::command_line::{Connection, LogFilter, Logs, LogsCommand, Output};
use crate::failure::Failure;
use crate::output::{self, Row};

mod history;

/// A line of the log as printed: a delivery, or an event that matched nothing.
#[derive(Debug, Serialize)]
pub(super) struct ShownLine {
    eid: String,
    event_id: String,
    r#type: String,
    subject: String,
    accepted_at: String,
    delivery_id: Option<String>,
    trigger: Option<String>,
    function: Option<String>,
    status: Option<String>,
    remark: Option<String>,
    attempts: u32,
    /// How often it was ordered anew.
    generation: u32,
    next_attempt_at: Option<String>,
    response_status: Option<u32>,
    duration_us: Option<u64>,
    error_class: Option<String>,
    error: Option<String>,
}

impl From<logs::DeliveryLine> for ShownLine {
    fn from(line: logs::DeliveryLine) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            accepted_at: show_time(line.accepted_at.as_ref()),
            next_attempt_at: some(show_time(line.next_attempt_at.as_ref())),
            eid: line.eid,
            event_id: line.event_id,
            r#type: line.r#type,
            subject: line.subject,
            delivery_id: some(line.delivery_id),
            trigger: some(line.trigger),
            function: some(line.function),
            status: some(line.status),
            remark: some(line.remark),
            attempts: line.attempts,
            generation: line.generation,
            response_status: Some(line.response_status).filter(|status| *status != 0),
            duration_us: Some(line.duration_us).filter(|_| line.attempts > 0),
            error_class: some(line.error_class),
            error: some(line.error),
        }
    }
}

impl Row for ShownLine {
    const HEADINGS: &'static [&'static str] = &[
        "ACCEPTED", "EVENT", "TYPE", "FUNCTION", "STATUS", "TRIES", "ANSWER", "TOOK", "REMARK",
    ];

    fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let remark = match (&self.remark, &self.next_attempt_at, &self.error) {
            (Some(remark), _, Some(error)) => format!("{remark}: {error}"),
            (Some(remark), _, None) => remark.clone(),
            (None, Some(next), Some(error)) => format!("{error}; again at {next}"),
            (None, _, Some(error)) => error.clone(),
            (None, Some(next), None) => format!("again at {next}"),
            (None, None, None) => String::new(),
        };
        let status = match &self.delivery_id {
            Some(_) => text(&self.status),
            None => "no trigger".to_owned(),
        };
        vec![
            self.accepted_at.clone(),
            self.eid.clone(),
            self.r#type.clone(),
            text(&self.function),
            status,
            self.attempts.to_string(),
            self.response_status
                .map(|status| status.to_string())
                .unwrap_or_default(),
            self.duration_us.map(show_micros).unwrap_or_default(),
            remark,
        ]
    }
}

pub(crate) async fn run(options: Logs, connection: &Connection) -> Result<(), Failure> {
    match options.command {
        Some(LogsCommand::Get { id }) => history::run(id, connection).await,
        None if options.follow => follow(options.filter, connection).await,
        None => list(options.filter, options.limit, connection).await,
    }
}

fn filter(filter: LogFilter) -> Result<logs::DeliveryFilter, Failure> {
    let time =
        |option: &str, text: Option<String>| text.map(|text| read_time(option, &text)).transpose();
    Ok(logs::DeliveryFilter {
        event: filter.event.unwrap_or_default(),
        r#type: filter.event_type.unwrap_or_default(),
        function: filter.function.unwrap_or_default(),
        trigger: filter.trigger.unwrap_or_default(),
        statuses: filter.status,
        since: time("--since", filter.since)?,
        until: time("--until", filter.until)?,
    })
}

async fn list(conditions: LogFilter, limit: u32, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.logs()?;
    let filter = filter(conditions)?;
    let mut shown: Vec<ShownLine> = Vec::new();
    let mut page_token = String::new();
    loop {
        let missing = limit.saturating_sub(u32::try_from(shown.len()).unwrap_or(u32::MAX));
        if missing == 0 {
            break;
        }
        let page_size = missing.min(1000);
        let request = logs::ListDeliveriesRequest {
            filter: Some(filter.clone()),
            page_size,
            page_token,
        };
        let page = client.list_deliveries(request).await?.into_inner();
        shown.extend(page.deliveries.into_iter().map(ShownLine::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    output::rows(connection.output, &shown)
}

/// Prints each line as it comes; a delivery that changes its state is printed again.
async fn follow(conditions: LogFilter, connection: &Connection) -> Result<(), Failure> {
    let request = logs::FollowDeliveriesRequest {
        filter: Some(filter(conditions)?),
    };
    let mut stream = connection
        .logs()?
        .follow_deliveries(request)
        .await?
        .into_inner();
    while let Some(line) = stream.message().await? {
        let line = ShownLine::from(line);
        match connection.output {
            Output::Json => output::object(&line)?,
            Output::Table => output::line(&line.cells().join("  "))?,
        }
    }
    Ok(())
}
