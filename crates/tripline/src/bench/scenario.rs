//! What one run does.

use std::time::Duration;

use super::door::Door;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) events: usize,
    pub(crate) warmup_events: usize,
    /// Events a second; none is as many as are taken.
    pub(crate) rate: Option<f64>,
    pub(crate) functions: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) concurrency: usize,
    pub(crate) door: Door,
    /// What has not arrived is lost when nothing has arrived for this long.
    pub(crate) silence_max: Duration,
}

impl Scenario {
    /// A name for it, such as `1:10 post` or `1:1 post at 300/s`.
    pub(crate) fn title(&self) -> String {
        let shape = format!("1:{} {}", self.functions, self.door.name());
        match self.rate {
            Some(rate) => format!("{shape} at {rate}/s"),
            None => shape,
        }
    }
}
