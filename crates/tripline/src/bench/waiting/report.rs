//! What became of what waited, as lines and as JSON.

use std::time::Duration;

use serde::Serialize;

use super::super::ledger::{Latency, Tally};
use super::super::processes::Spent;
use super::super::told::Seen;
use crate::command_line::Output;
use crate::failure::Failure;
use crate::output;

/// The figures of one run. As JSON the names stay as they are.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WaitingReport {
    target: String,
    scenario: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled: Option<Lateness>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backlogs: Vec<Drained>,
    processes: Vec<Memory>,
}

/// How far from their time calls arrived.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Lateness {
    pub(super) delivered: usize,
    pub(super) lost: usize,
    pub(super) duplicates: usize,
    pub(super) early: usize,
    pub(super) lateness: Latency,
}

/// What became of a backlog when its endpoint was back.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Drained {
    /// `all` or `latest`
    backlog: String,
    accepted: usize,
    delivered: usize,
    /// Of `all`; of `latest` most are superseded.
    not_delivered: usize,
    duplicates: usize,
    out_of_order: usize,
    refused: usize,
    /// Share of the requests to the endpoint since it was back, 0 to 1.
    refused_share: f64,
    drained_s: f64,
    delivered_per_second: f64,
    /// The healthy function beside it: alone, while the endpoint was down, while it drained.
    healthy: [Latency; 3],
    healthy_p99_ratios: [f64; 2],
}

#[derive(Debug, Clone, Serialize)]
struct Memory {
    name: String,
    memory_peak_bytes: u64,
    cpu_s: f64,
}

impl Drained {
    pub(super) fn new(
        backlog: &str,
        tally: &Tally,
        seen: Seen,
        took: Duration,
        healthy: [Latency; 3],
    ) -> Self {
        let requests = seen.taken + seen.refused;
        let [alone, down, draining] = healthy;
        let beside = |latency: Latency| latency.p99_ms / alone.p99_ms.max(0.001);
        Self {
            backlog: backlog.to_owned(),
            accepted: tally.accepted,
            delivered: tally.delivered,
            not_delivered: tally.lost,
            duplicates: tally.duplicates,
            out_of_order: seen.out_of_order,
            refused: seen.refused,
            refused_share: seen.refused as f64 / requests.max(1) as f64,
            drained_s: took.as_secs_f64(),
            delivered_per_second: seen.taken as f64 / took.as_secs_f64().max(0.001),
            healthy,
            healthy_p99_ratios: [beside(down), beside(draining)],
        }
    }
}

impl WaitingReport {
    pub(super) fn new(
        target: &str,
        scenario: &'static str,
        scheduled: Option<Lateness>,
        backlogs: Vec<Drained>,
        spent: Vec<Spent>,
    ) -> Self {
        let memory = |spent: Spent| Memory {
            name: spent.name,
            memory_peak_bytes: spent.memory_peak_bytes,
            cpu_s: spent.cpu.as_secs_f64(),
        };
        Self {
            target: target.to_owned(),
            scenario,
            scheduled,
            backlogs,
            processes: spent.into_iter().map(memory).collect(),
        }
    }

    /// Calls that were owed and did not arrive.
    pub(crate) fn lost(&self) -> usize {
        let scheduled = self.scheduled.iter().map(|lateness| lateness.lost);
        let all = self.backlogs.iter().filter(|one| one.backlog == "all");
        scheduled.chain(all.map(|one| one.not_delivered)).sum()
    }

    pub(crate) fn print(&self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Json => output::object(self),
            Output::Table => output::line(&self.text()),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("{} {}", self.target, self.scenario)];
        if let Some(scheduled) = &self.scheduled {
            let late = scheduled.lateness;
            lines.push(format!(
                "delivered {}, lost {}, duplicates {}, before their time {}",
                scheduled.delivered, scheduled.lost, scheduled.duplicates, scheduled.early
            ));
            lines.push(format!(
                "late by: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
                late.p50_ms, late.p95_ms, late.p99_ms, late.max_ms
            ));
        }
        for one in &self.backlogs {
            lines.push(format!(
                "backlog {}: {} of {} delivered in {:.1} s ({:.0}/s), {} duplicates, {} out of order, \
                 {} requests refused ({:.2} %)",
                one.backlog,
                one.delivered,
                one.accepted,
                one.drained_s,
                one.delivered_per_second,
                one.duplicates,
                one.out_of_order,
                one.refused,
                one.refused_share * 100.0,
            ));
            let [alone, down, draining] = one.healthy.map(|latency| latency.p99_ms);
            let [while_down, while_draining] = one.healthy_p99_ratios;
            lines.push(format!(
                "the healthy one's p99: alone {alone:.1} ms, while it was down {down:.1} ms \
                 ({while_down:.2}), while it drained {draining:.1} ms ({while_draining:.2})"
            ));
        }
        for process in &self.processes {
            lines.push(format!(
                "{}: peak memory {:.0} MiB, CPU {:.1} s",
                process.name,
                process.memory_peak_bytes as f64 / (1024.0 * 1024.0),
                process.cpu_s,
            ));
        }
        lines.join("\n")
    }
}
