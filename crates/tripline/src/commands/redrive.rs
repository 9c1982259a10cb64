//! `tripline redrive`, `replay` and `deliveries redrive`: what is delivered again, and how far it is.

mod progress;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use protocol::logs::v1::DeliveryFilter;
use protocol::redrive::v1 as wire;
use serde::Serialize;

use super::logs::ShownLine;
use super::{read_time, show_time};
use crate::command_line::{AgainScope, Connection, Output, Redrive, RedriveCommand, Replay};
use crate::failure::Failure;
use crate::output::{self, Row};
use progress::Progress;

/// An order as printed.
#[derive(Debug, Serialize)]
struct ShownRedrive {
    id: String,
    kind: String,
    state: String,
    total: u64,
    sent: u64,
    skipped: u64,
    reason: Option<String>,
    to_function: Option<String>,
    per_second: Option<f64>,
    function: Option<String>,
    trigger: Option<String>,
    r#type: Option<String>,
    event: Option<String>,
    statuses: Vec<String>,
    since: Option<String>,
    until: Option<String>,
    created_at: String,
    updated_at: String,
    ended_at: Option<String>,
}

impl From<wire::Redrive> for ShownRedrive {
    fn from(redrive: wire::Redrive) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let filter = redrive.filter.unwrap_or_default();
        Self {
            id: redrive.id,
            kind: redrive.kind,
            state: redrive.state,
            total: redrive.total,
            sent: redrive.sent,
            skipped: redrive.skipped,
            reason: some(redrive.reason),
            to_function: some(redrive.to_function),
            per_second: Some(redrive.per_second).filter(|rate| *rate > 0.0),
            function: some(filter.function),
            trigger: some(filter.trigger),
            r#type: some(filter.r#type),
            event: some(filter.event),
            statuses: filter.statuses,
            since: some(show_time(filter.since.as_ref())),
            until: some(show_time(filter.until.as_ref())),
            created_at: show_time(redrive.created_at.as_ref()),
            updated_at: show_time(redrive.updated_at.as_ref()),
            ended_at: some(show_time(redrive.ended_at.as_ref())),
        }
    }
}

impl Row for ShownRedrive {
    const HEADINGS: &'static [&'static str] = &[
        "ORDER", "KIND", "STATE", "SENT", "OF", "SKIPPED", "TO", "BEGAN", "REASON",
    ];

    fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            self.id.clone(),
            self.kind.clone(),
            self.state.clone(),
            self.sent.to_string(),
            self.total.to_string(),
            self.skipped.to_string(),
            self.to_function
                .clone()
                .unwrap_or_else(|| text(&self.function)),
            self.created_at.clone(),
            text(&self.reason),
        ]
    }
}

impl ShownRedrive {
    fn print(&self, connection: &Connection) -> Result<(), Failure> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let sent = format!("{} of {}, {} skipped", self.sent, self.total, self.skipped);
        let fields = [
            ("order", self.id.clone()),
            ("kind", self.kind.clone()),
            ("state", self.state.clone()),
            ("sent", sent),
            ("to", text(&self.to_function)),
            ("function", text(&self.function)),
            ("type", text(&self.r#type)),
            ("event", text(&self.event)),
            ("since", text(&self.since)),
            ("until", text(&self.until)),
            ("began", self.created_at.clone()),
            ("ended", text(&self.ended_at)),
            ("reason", text(&self.reason)),
        ];
        output::one(connection.output, self, &fields)
    }
}

/// What an order would be about, as printed.
#[derive(Debug, Serialize)]
struct ShownCount {
    count: u64,
    sample: Vec<ShownLine>,
}

pub(crate) async fn run(options: Redrive, connection: &Connection) -> Result<(), Failure> {
    match options.command {
        Some(RedriveCommand::List { limit }) => list(limit, connection).await,
        Some(RedriveCommand::Watch { id }) => watch(id, connection).await,
        Some(RedriveCommand::Stop { id }) => {
            let request = wire::StopRedriveRequest { id };
            let stopped = connection.redrives()?.stop_redrive(request).await?;
            ShownRedrive::from(stopped.into_inner()).print(connection)
        }
        None => {
            let filter = DeliveryFilter {
                function: options.function.unwrap_or_default(),
                trigger: options.trigger.unwrap_or_default(),
                statuses: options.status,
                ..filter(&options.scope)?
            };
            let order = Order {
                kind: "redrive",
                filter,
                to_function: options.to.unwrap_or_default(),
            };
            order.give(&options.scope, connection).await
        }
    }
}

pub(crate) async fn replay(options: Replay, connection: &Connection) -> Result<(), Failure> {
    let order = Order {
        kind: "replay",
        filter: filter(&options.scope)?,
        to_function: options.function,
    };
    order.give(&options.scope, connection).await
}

/// One delivery, whatever became of it.
pub(crate) async fn one(
    id: String,
    to: Option<String>,
    connection: &Connection,
) -> Result<(), Failure> {
    let order = Order {
        kind: "redrive",
        filter: DeliveryFilter {
            event: id,
            statuses: vec!["failed".to_owned(), "cancel".to_owned()],
            ..DeliveryFilter::default()
        },
        to_function: to.unwrap_or_default(),
    };
    // One delivery, named: there is nothing to ask.
    let scope = AgainScope {
        yes: true,
        ..AgainScope::default()
    };
    order.give(&scope, connection).await
}

fn filter(scope: &AgainScope) -> Result<DeliveryFilter, Failure> {
    let time = |option: &str, text: &Option<String>| {
        text.as_ref()
            .map(|text| read_time(option, text))
            .transpose()
    };
    Ok(DeliveryFilter {
        event: scope.event.clone().unwrap_or_default(),
        r#type: scope.event_type.clone().unwrap_or_default(),
        since: time("--since", &scope.since)?,
        until: time("--until", &scope.until)?,
        ..DeliveryFilter::default()
    })
}

struct Order {
    kind: &'static str,
    filter: DeliveryFilter,
    to_function: String,
}

impl Order {
    /// Counts first, asks, and then begins and shows how far it is.
    async fn give(self, scope: &AgainScope, connection: &Connection) -> Result<(), Failure> {
        let mut client = connection.redrives()?;
        let request = |dry_run| wire::StartRedriveRequest {
            kind: self.kind.to_owned(),
            filter: Some(self.filter.clone()),
            to_function: self.to_function.clone(),
            per_second: scope.rate.unwrap_or_default(),
            dry_run,
        };
        if scope.dry_run || !scope.yes {
            let counted = client.start_redrive(request(true)).await?.into_inner();
            if scope.dry_run {
                return self.show_count(counted, connection);
            }
            if !self.ask(&counted)? {
                return Ok(());
            }
        }
        let begun = client.start_redrive(request(false)).await?.into_inner();
        let begun = begun.redrive.unwrap_or_default();
        watch(begun.id, connection).await
    }

    fn show_count(
        &self,
        counted: wire::StartRedriveResponse,
        connection: &Connection,
    ) -> Result<(), Failure> {
        let what = self.what(counted.count);
        let shown = ShownCount {
            count: counted.count,
            sample: counted.sample.into_iter().map(Into::into).collect(),
        };
        match connection.output {
            Output::Json => output::object(&shown),
            Output::Table if shown.count == 0 => output::line(&what),
            Output::Table => {
                output::line(&format!("{what}. The oldest:\n"))?;
                output::rows(Output::Table, &shown.sample)
            }
        }
    }

    fn ask(&self, counted: &wire::StartRedriveResponse) -> Result<bool, Failure> {
        let what = self.what(counted.count);
        if !std::io::stdin().is_terminal() {
            let message = format!("{what}; say --yes to go on, where nobody can be asked");
            return Err(Failure::usage(message));
        }
        if counted.count == 0 {
            eprintln!("{what}");
            return Ok(false);
        }
        eprint!("{what}. Go on? [y/N] ");
        let mut answer = String::new();
        let read = std::io::stderr()
            .flush()
            .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
        read.map_err(|error| Failure::local(format!("standard input cannot be read: {error}")))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    fn what(&self, count: u64) -> String {
        let (one, many) = match self.kind {
            "replay" => ("event", "events"),
            _ => ("delivery", "deliveries"),
        };
        match count {
            0 => format!("no {one} matches"),
            1 => format!("1 {one} matches"),
            count => format!("{count} {many} match"),
        }
    }
}

async fn list(limit: u32, connection: &Connection) -> Result<(), Failure> {
    let request = wire::ListRedrivesRequest { limit };
    let listed = connection.redrives()?.list_redrives(request).await?;
    let redrives = listed.into_inner().redrives.into_iter();
    let shown: Vec<ShownRedrive> = redrives.map(Into::into).collect();
    output::rows(connection.output, &shown)
}

/// Shows an order until it has ended; Ctrl-C leaves it to itself.
async fn watch(id: String, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.redrives()?;
    let request = wire::WatchRedriveRequest { id: id.clone() };
    let mut told = client.watch_redrive(request).await?.into_inner();
    let interrupted = lifecycle::signals()
        .map_err(|error| Failure::local(format!("cannot listen to signals: {error}")))?;
    tokio::pin!(interrupted);
    let progress = Progress::new(connection.output);
    let mut last = None;
    loop {
        tokio::select! {
            next = told.message() => match next? {
                Some(redrive) => {
                    progress.show(&redrive)?;
                    last = Some(redrive);
                }
                None => break,
            },
            () = &mut interrupted => {
                drop(progress);
                eprintln!(
                    "{id} goes on by itself.\n  tripline redrive watch {id}\n  tripline redrive stop {id}"
                );
                return Ok(());
            }
        }
    }
    drop(progress);
    let Some(ended) = last else { return Ok(()) };
    let failed = ended.state == "failed";
    let shown = ShownRedrive::from(ended);
    if connection.output == Output::Table {
        shown.print(connection)?;
    }
    if failed {
        let reason = shown.reason.unwrap_or_default();
        return Err(Failure::local(format!("{id} has failed: {reason}")));
    }
    Ok(())
}
