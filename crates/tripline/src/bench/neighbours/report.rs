//! What healthy endpoints noticed of their neighbours, as a table and as JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::super::ledger::{Latency, Tally};
use super::super::processes::Spent;
use crate::command_line::Output;
use crate::failure::Failure;
use crate::output;

/// The figures of one run. As JSON the names stay as they are.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NeighbourReport {
    target: String,
    scenario: &'static str,
    phases: Vec<Phase>,
    /// p99 beside the others, of that alone; one for each pair of phases.
    p99_ratios: Vec<f64>,
    requests_at_once_max: usize,
    processes: Vec<Memory>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Phase {
    title: &'static str,
    with_others: bool,
    accepted: usize,
    delivered: usize,
    lost: usize,
    duplicates: usize,
    delivered_per_second: f64,
    latency: Latency,
    /// Events for the others that were taken meanwhile.
    others_accepted: usize,
}

#[derive(Debug, Clone, Serialize)]
struct Memory {
    name: String,
    memory_peak_bytes: u64,
    cpu_s: f64,
}

impl Phase {
    pub(super) fn new(
        title: &'static str,
        with_others: bool,
        tally: &Tally,
        others_accepted: usize,
    ) -> Self {
        Self {
            title,
            with_others,
            accepted: tally.accepted,
            delivered: tally.delivered,
            lost: tally.lost,
            duplicates: tally.duplicates,
            delivered_per_second: tally.delivered as f64 * 1e6 / tally.delivering_us.max(1) as f64,
            latency: tally.latency,
            others_accepted,
        }
    }
}

impl NeighbourReport {
    pub(super) fn new(
        target: &str,
        scenario: &'static str,
        phases: Vec<Phase>,
        requests_at_once_max: usize,
        spent: Vec<Spent>,
    ) -> Self {
        let pairs = phases.windows(2);
        let ratios = pairs.filter_map(|pair| match pair {
            [alone, beside] if beside.with_others && !alone.with_others => {
                Some(beside.latency.p99_ms / alone.latency.p99_ms.max(0.001))
            }
            _ => None,
        });
        Self {
            target: target.to_owned(),
            scenario,
            p99_ratios: ratios.collect(),
            phases,
            requests_at_once_max,
            processes: spent
                .into_iter()
                .map(|spent| Memory {
                    name: spent.name,
                    memory_peak_bytes: spent.memory_peak_bytes,
                    cpu_s: spent.cpu.as_secs_f64(),
                })
                .collect(),
        }
    }

    /// Calls that were owed and did not arrive.
    pub(crate) fn lost(&self) -> usize {
        self.phases.iter().map(|phase| phase.lost).sum()
    }

    pub(crate) fn print(&self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Json => output::object(self),
            Output::Table => output::line(&self.text()),
        }
    }

    fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "phase",
            "delivered",
            "lost",
            "duplicates",
            "per second",
            "p50 ms",
            "p99 ms",
            "max ms",
            "beside",
        ]);
        for phase in &self.phases {
            table.add_row([
                phase.title.to_owned(),
                phase.delivered.to_string(),
                phase.lost.to_string(),
                phase.duplicates.to_string(),
                format!("{:.0}", phase.delivered_per_second),
                format!("{:.1}", phase.latency.p50_ms),
                format!("{:.1}", phase.latency.p99_ms),
                format!("{:.1}", phase.latency.max_ms),
                phase.others_accepted.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("{} {}\n{table}\n", self.target, self.scenario);
        for ratio in &self.p99_ratios {
            text.push_str(&format!("p99 beside the others / alone: {ratio:.2}\n"));
        }
        text.push_str(&format!(
            "requests under way at once: {}\n",
            self.requests_at_once_max
        ));
        for process in &self.processes {
            text.push_str(&format!(
                "{}: peak memory {:.0} MiB, CPU {:.1} s\n",
                process.name,
                process.memory_peak_bytes as f64 / (1024.0 * 1024.0),
                process.cpu_s,
            ));
        }
        text.trim_end().to_owned()
    }
}
