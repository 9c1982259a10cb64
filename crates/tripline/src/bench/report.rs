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

/// Figures that belong together, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Speed,
    Cpu,
    Memory,
    Counts,
}

/// A figure with its name, and how it is written.
struct Figure {
    group: Group,
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
        let speed = |name: &str, value, decimals| Figure::new(Group::Speed, name, value, decimals);
        let mut figures = vec![
            speed("accepted/s", self.accepted_per_second, 0),
            speed("delivered/s", self.delivered_per_second, 0),
            speed("latency p50 ms", self.latency.p50_ms, 2),
            speed("latency p95 ms", self.latency.p95_ms, 2),
            speed("latency p99 ms", self.latency.p99_ms, 2),
            speed("latency max ms", self.latency.max_ms, 2),
        ];
        figures.extend(self.cost_figures());
        let counts = [
            ("accepted", self.accepted),
            ("refused", self.refused),
            ("unanswered", self.unanswered),
            ("delivered", self.delivered),
            ("lost", self.lost),
            ("duplicates", self.duplicates),
        ];
        figures.extend(
            counts.map(|(name, count)| Figure::new(Group::Counts, name, to_float(count), 0)),
        );
        figures
    }

    /// Sums, and what each process has of them.
    fn cost_figures(&self) -> Vec<Figure> {
        let Some(cpu) = self.cpu_us_per_delivery else {
            return Vec::new();
        };
        let memory_bytes = self
            .processes
            .iter()
            .map(|process| process.memory_peak_bytes)
            .sum();
        let mut figures = vec![Figure::new(Group::Cpu, "CPU µs/delivery", cpu, 1)];
        figures.extend(self.processes.iter().map(|process| {
            let name = format!("  {}", process.name);
            Figure::new(Group::Cpu, &name, process.cpu_us_per_delivery, 1)
        }));
        figures.push(Figure::new(
            Group::Memory,
            "peak memory MiB",
            mebibytes(memory_bytes),
            0,
        ));
        figures.extend(self.processes.iter().map(|process| {
            let name = format!("  {}", process.name);
            Figure::new(
                Group::Memory,
                &name,
                mebibytes(process.memory_peak_bytes),
                0,
            )
        }));
        figures
    }
}

impl Figure {
    fn new(group: Group, name: &str, value: f64, decimals: usize) -> Self {
        Self {
            group,
            name: name.to_owned(),
            value,
            decimals,
        }
    }

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
        let figures = runs.iter().flatten();
        let mut names = distinct(figures.map(|figure| (figure.group, figure.name.as_str())));
        // Processes that only a later target has belong beside those of the first.
        names.sort_by_key(|(group, _)| *group);
        for (group, name) in names {
            let is_it = |figure: &&Figure| figure.group == group && figure.name == name;
            let figures = runs.iter().map(|run| run.iter().find(is_it));
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
        && first.group != Group::Counts
    {
        cells.push(format!("{:.2}", second.value / first.value));
    }
    cells
}

/// Each once, in the order of their first appearance.
fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

fn per_second(count: usize, micros: u64) -> f64 {
    let seconds = Duration::from_micros(micros.max(1)).as_secs_f64();
    to_float(count) / seconds
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
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

    /// The lines of a comparison, each with single spaces.
    fn lines(reports: &[Report]) -> Vec<String> {
        let text = comparison(reports).trim_fmt();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).collect()
    }

    #[test]
    fn processes_stand_under_their_sum_whoever_has_them() {
        let mut full = report("full", 1, 150);
        for cost in &mut full.processes {
            cost.name = "rabbitmq".to_owned();
        }
        let lines = lines(&[report("embedded", 1, 100), full]);
        let cpu = lines
            .iter()
            .position(|line| line.starts_with("CPU"))
            .unwrap();
        let costs = [
            "CPU µs/delivery 100.0 150.0 1.50",
            "redis 100.0",
            "rabbitmq 150.0",
            "peak memory MiB 3 3 1.00",
            "redis 3",
            "rabbitmq 3",
        ];
        assert_eq!(lines[cpu..cpu + costs.len()], costs);
    }

    #[test]
    fn runs_of_a_scenario_stand_beside_each_other() {
        let reports = [
            report("embedded", 1, 100),
            report("embedded", 10, 100),
            report("full", 1, 150),
        ];
        let lines = lines(&reports);
        assert_eq!(lines[0], "1:1 POST embedded full full/embedded");
        // Counts have no ratio.
        assert!(
            lines.contains(&"accepted 1000 1000".to_owned()),
            "{lines:?}"
        );
        assert!(lines.contains(&"lost 0 0".to_owned()), "{lines:?}");
        // A run that was not made leaves its place empty.
        assert!(
            lines.contains(&"CPU µs/delivery 10.0".to_owned()),
            "{lines:?}"
        );
    }
}
