//! `tripline bench`: what a deployment can do, and what it costs.

use crate::bench::options::{Bench, Special};
use crate::bench::{
    Backing, Deployment, Interrupt, Neighbours, Report, Target, Waiting, measure, print_comparison,
    run_gateway, run_neighbours, run_waiting,
};
use crate::command_line::Connection;
use crate::failure::Failure;

pub(super) async fn run(options: Bench, connection: &Connection) -> Result<(), Failure> {
    // It receives the calls of all that are under way at once.
    process::open_files::allow_many();
    let interrupt = Interrupt::listen()?;
    match options.scenario {
        Some(Special::Beside(neighbours)) => {
            return Box::pin(run_beside(neighbours, &options, connection, &interrupt)).await;
        }
        Some(Special::Waits(waiting)) => {
            return Box::pin(run_what_waits(waiting, &options, connection, &interrupt)).await;
        }
        Some(Special::Gateway) => {
            return Box::pin(run_through(&options, connection, &interrupt)).await;
        }
        None => {}
    }
    let reports = match (options.suite, options.spawn) {
        (true, only) => {
            let backings =
                only.map_or_else(|| vec![Backing::Embedded, Backing::Full], |only| vec![only]);
            let reports = run_suite(&options, &backings, connection, &interrupt).await?;
            print_comparison(connection.output, &reports)?;
            reports
        }
        (false, Some(backing)) => {
            let scenarios = [options.scenario()?];
            let reports = run_on(backing, &options, &scenarios, connection, &interrupt).await?;
            reports
                .iter()
                .try_for_each(|report| report.print(connection.output))?;
            reports
        }
        (false, None) => {
            let target = target("", &options, connection.clone());
            let report = measure(&options.scenario()?, &target, &interrupt).await?;
            report.print(connection.output)?;
            vec![report]
        }
    };
    judge(&reports)
}

async fn run_suite(
    options: &Bench,
    backings: &[Backing],
    connection: &Connection,
    interrupt: &Interrupt,
) -> Result<Vec<Report>, Failure> {
    let scenarios = options.suite()?;
    let mut reports = Vec::new();
    for backing in backings {
        reports.extend(run_on(*backing, options, &scenarios, connection, interrupt).await?);
    }
    Ok(reports)
}

/// Starts what is measured, runs the scenarios one after the other, and stops it.
async fn run_on(
    backing: Backing,
    options: &Bench,
    scenarios: &[crate::bench::Scenario],
    connection: &Connection,
    interrupt: &Interrupt,
) -> Result<Vec<Report>, Failure> {
    let start = Deployment::start(backing, &options.servers, &[], connection.output);
    let mut deployment = interrupt.or(start).await?;
    let mut target = target(backing.name(), options, deployment.connection().clone());
    target.processes.extend(deployment.processes());
    let mut reports = Vec::new();
    let mut outcome = Ok(());
    for scenario in scenarios {
        match measure(scenario, &target, interrupt).await {
            Ok(report) => reports.push(report),
            Err(failure) => {
                outcome = Err(deployment.explain(failure));
                break;
            }
        }
    }
    deployment.stop().await;
    outcome.map(|()| reports)
}

/// What healthy functions notice of others.
async fn run_beside(
    neighbours: Neighbours,
    options: &Bench,
    connection: &Connection,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let run = options.neighbours(neighbours);
    let report = match options.spawn {
        None => {
            let target = target("", options, connection.clone());
            run_neighbours(&run, &target, interrupt).await?
        }
        Some(Backing::Embedded) if !neighbours.variables().is_empty() => {
            return Err(Failure::usage(format!(
                "--scenario {} needs a setting that `tripline up` does not have: use --spawn full",
                neighbours.name()
            )));
        }
        Some(backing) => {
            let variables = neighbours.variables();
            let start = Deployment::start(backing, &options.servers, &variables, connection.output);
            let mut deployment = interrupt.or(start).await?;
            let mut target = target(backing.name(), options, deployment.connection().clone());
            target.processes.extend(deployment.processes());
            let report = run_neighbours(&run, &target, interrupt).await;
            let report = report.map_err(|failure| deployment.explain(failure));
            deployment.stop().await;
            report?
        }
    };
    report.print(connection.output)?;
    judge_lost(report.lost())
}

/// What becomes of deliveries that wait.
async fn run_what_waits(
    waiting: Waiting,
    options: &Bench,
    connection: &Connection,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let run = options.waiting(waiting);
    let report = match options.spawn {
        None => {
            let target = target("", options, connection.clone());
            run_waiting(&run, &target, interrupt).await?
        }
        Some(backing) => {
            let start = Deployment::start(backing, &options.servers, &[], connection.output);
            let mut deployment = interrupt.or(start).await?;
            let mut target = target(backing.name(), options, deployment.connection().clone());
            target.processes.extend(deployment.processes());
            let report = run_waiting(&run, &target, interrupt).await;
            let report = report.map_err(|failure| deployment.explain(failure));
            deployment.stop().await;
            report?
        }
    };
    report.print(connection.output)?;
    judge_lost(report.lost())
}

/// What the gateway adds to a call.
async fn run_through(
    options: &Bench,
    connection: &Connection,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let run = options.gateway();
    let report = match options.spawn {
        None => run_gateway(&run, &target("", options, connection.clone()), interrupt).await?,
        Some(Backing::Full) => {
            let message = "--scenario gateway starts `tripline up`: use --spawn embedded, or name a \
                           running system";
            return Err(Failure::usage(message));
        }
        Some(backing) => {
            let start = Deployment::start(backing, &options.servers, &[], connection.output);
            let mut deployment = interrupt.or(start).await?;
            let target = target(backing.name(), options, deployment.connection().clone());
            let report = run_gateway(&run, &target, interrupt).await;
            let report = report.map_err(|failure| deployment.explain(failure));
            deployment.stop().await;
            report?
        }
    };
    report.print(connection.output)?;
    match report.failed() {
        0 => Ok(()),
        failed => Err(Failure::local(format!("{failed} calls failed"))),
    }
}

fn target(name: &str, options: &Bench, connection: Connection) -> Target {
    Target {
        name: name.to_owned(),
        connection,
        processes: options.processes.clone(),
        receive_on: options.receive_on,
        receiver_host: options.receiver_host.clone(),
    }
}

fn judge(reports: &[Report]) -> Result<(), Failure> {
    judge_lost(reports.iter().map(|report| report.lost).sum())
}

fn judge_lost(lost: usize) -> Result<(), Failure> {
    match lost {
        0 => Ok(()),
        lost => Err(Failure::local(format!(
            "{lost} deliveries that were owed did not arrive"
        ))),
    }
}
