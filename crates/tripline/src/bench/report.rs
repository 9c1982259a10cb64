//! The figures of a run, and runs beside each other.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::ledger::{Latency, Tally};
use super::processes::Spent;
use super::scenario::Scenario;
use crate::command_line::Output;
use crate::failure::Failure;
use crate::output;

/// The figures of one run. As JSON the names stay as they are.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) target: String,
    pub(crate) scenario: String,
    door: &'static str,
    rate: Option<f64>,
    events: usize,
    functions: usize,
    payload_bytes: usize,
    concurrency: usize,
    accepted: usize,
    refused: usize,
    unanswered: usize,
    first_refusal: Option<String>,
    delivered: usize,
    pub(crate) lost: usize,
    duplicates: usize,
    accepted_per_second: f64,
    delivered_per_second: f64,
    latency: Latency,
    /// Over all processes that were named.
    cpu_us_per_delivery: Option<f64>,
    processes: Vec<Cost>,
}

/// What one process cost.
#[derive(Debug, Clone, Serialize)]
struct Cost {
    name: String,
    cpu_us_per_delivery: f64,
    memory_peak_bytes: u64,
}

/// A figure with its name, and how it is written.
struct Figure {
    name: String,
    value: f64,
    decimals: usize,
}

impl Report {
    pub(crate) fn new(
        target: &str,
        scenario: &Scenario,
        tally: &Tally,
        spent: Vec<Spent>,
        first_refusal: Option<String>,
    ) -> Self {
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / to_float(tally.delivered.max(1));
        let total: Duration = spent.iter().map(|spent| spent.cpu).sum();
        Self {
            target: target.to_owned(),
            scenario: scenario.title(),
            door: scenario.door.name(),
            rate: scenario.rate,
            events: scenario.events,
            functions: scenario.functions,
            payload_bytes: scenario.payload_bytes,
            concurrency: scenario.concurrency,
            accepted: tally.accepted,
            refused: tally.refused,
            unanswered: tally.unanswered,
            first_refusal,
            delivered: tally.delivered,
            lost: tally.lost,
            duplicates: tally.duplicates,
            accepted_per_second: per_second(tally.accepted, tally.accepting_us),
            delivered_per_second: per_second(tally.delivered, tally.delivering_us),
            latency: tally.latency,
            cpu_us_per_delivery: (!spent.is_empty()).then(|| each(total)),
            processes: spent
                .into_iter()
                .map(|spent| Cost {
                    cpu_us_per_delivery: each(spent.cpu),
                    name: spent.name,
                    memory_peak_bytes: spent.memory_peak_bytes,
                })
                .collect(),
        }
    }

    pub(crate) fn print(&self, output: Output) -> Result<(), Failure> {
        let figures = self.figures();
        let mut fields = vec![(
            "run",
            format!("{} {}", self.target, self.scenario)
                .trim()
                .to_owned(),
        )];
        fields.extend(
            figures
                .iter()
                .map(|figure| (figure.name.as_str(), figure.text())),
        );
        let refusal = self.first_refusal.clone().unwrap_or_default();
        fields.push(("first refusal", refusal));
        output::one(output, self, &fields)
    }

    fn figures(&self) -> Vec<Figure> {
        let figure = |name: &str, value: f64, decimals| Figure {
            name: name.to_owned(),
            value,
            decimals,
        };
        let mut figures = vec![
            figure("accepted/s", self.accepted_per_second, 0),
            figure("delivered/s", self.delivered_per_second, 0),
            figure("latency p50 ms", self.latency.p50_ms, 2),
            figure("latency p95 ms", self.latency.p95_ms, 2),
            figure("latency p99 ms", self.latency.p99_ms, 2),
            figure("latency max ms", self.latency.max_ms, 2),
        ];
        if let Some(cpu) = self.cpu_us_per_delivery {
            figures.push(figure("CPU µs/delivery", cpu, 1));
        }
        for process in &self.processes {
            figures.push(figure(
                &format!("  {}", process.name),
                process.cpu_us_per_delivery,
                1,
            ));
        }
        for process in &self.processes {
            let mebibytes = process.memory_peak_bytes as f64 / 1024.0 / 1024.0;
            figures.push(figure(
                &format!("peak memory MiB {}", process.name),
                mebibytes,
                0,
            ));
        }
        let counts = [
            ("accepted", self.accepted),
            ("refused", self.refused),
            ("unanswered", self.unanswered),
            ("delivered", self.delivered),
            ("lost", self.lost),
            ("duplicates", self.duplicates),
        ];
        figures.extend(counts.map(|(name, count)| figure(name, to_float(count), 0)));
        figures
    }
}

impl Figure {
    fn text(&self) -> String {
        format!("{:.*}", self.decimals, self.value)
    }
}

/// Prints runs of the same scenarios on several targets beside each other; of two, also how many
/// times the first the second is.
pub(crate) fn print_comparison(output: Output, reports: &[Report]) -> Result<(), Failure> {
    if output == Output::Json {
        return reports.iter().try_for_each(output::object);
    }
    output::line(&comparison(reports).trim_fmt())
}

fn comparison(reports: &[Report]) -> Table {
    let targets = distinct(reports.iter().map(|report| report.target.as_str()));
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    for scenario in distinct(reports.iter().map(|report| report.scenario.as_str())) {
        let run = |target: &&str| {
            let is_it = |report: &&Report| report.scenario == scenario && report.target == *target;
            reports
                .iter()
                .find(is_it)
                .map(Report::figures)
                .unwrap_or_default()
        };
        let runs: Vec<_> = targets.iter().map(run).collect();
        if table.row_count() > 0 {
            table.add_row([""]);
        }
        table.add_row(heading(scenario, &targets));
        for name in distinct(runs.iter().flatten().map(|figure| figure.name.as_str())) {
            let figures = runs
                .iter()
                .map(|run| run.iter().find(|figure| figure.name == name));
            table.add_row(cells(name, &figures.collect::<Vec<_>>()));
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn heading(scenario: &str, targets: &[&str]) -> Vec<String> {
    let mut cells = vec![scenario.to_uppercase()];
    cells.extend(targets.iter().map(|target| (*target).to_owned()));
    if let [first, second] = targets {
        cells.push(format!("{second}/{first}"));
    }
    cells
}

fn cells(name: &str, figures: &[Option<&Figure>]) -> Vec<String> {
    let mut cells = vec![name.to_owned()];
    cells.extend(
        figures
            .iter()
            .map(|figure| figure.map(Figure::text).unwrap_or_default()),
    );
    if let [Some(first), Some(second)] = figures
        && first.value > 0.0
    {
        cells.push(format!("{:.2}", second.value / first.value));
    }
    cells
}

/// Each once, in the order of their first appearance.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

fn per_second(count: usize, micros: u64) -> f64 {
    let seconds = Duration::from_micros(micros.max(1)).as_secs_f64();
    to_float(count) / seconds
}

fn to_float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::door::Door;
    use super::*;

    fn report(target: &str, functions: usize, cpu_ms: u64) -> Report {
        let scenario = Scenario {
            events: 1_000,
            warmup_events: 0,
            rate: None,
            functions,
            payload_bytes: 500,
            concurrency: 64,
            door: Door::Post,
            silence_max: Duration::from_secs(1),
        };
        let tally = Tally {
            accepted: 1_000,
            delivered: 1_000 * functions,
            accepting_us: 500_000,
            delivering_us: 1_000_000,
            ..Tally::default()
        };
        let spent = Spent {
            name: "redis".to_owned(),
            cpu: Duration::from_millis(cpu_ms),
            memory_peak_bytes: 3 * 1024 * 1024,
        };
        Report::new(target, &scenario, &tally, vec![spent], None)
    }

    #[test]
    fn rates_and_costs_are_per_delivery() {
        let report = report("embedded", 10, 250);
        let rounded = |value: f64| format!("{value:.3}");
        assert_eq!(rounded(report.accepted_per_second), "2000.000");
        assert_eq!(rounded(report.delivered_per_second), "10000.000");
        assert_eq!(
            report.cpu_us_per_delivery.map(rounded).as_deref(),
            Some("25.000")
        );
    }

    #[test]
    fn runs_of_a_scenario_stand_beside_each_other() {
        let reports = [
            report("embedded", 1, 100),
            report("embedded", 10, 100),
            report("full", 1, 150),
        ];
        let text = comparison(&reports).trim_fmt();
        let line = |start: &str| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(start));
            line.unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("1:1 POST"), "1:1 POST embedded full full/embedded");
        assert_eq!(line("CPU"), "CPU µs/delivery 100.0 150.0 1.50");
        assert_eq!(line("lost"), "lost 0 0");
        // A run that was not made leaves its place empty.
        assert_eq!(text.lines().filter(|line| line.contains("10.0")).count(), 2);
    }
}
