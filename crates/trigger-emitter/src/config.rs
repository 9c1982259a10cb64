//! What can be set about the trigger-emitter, with units, limits and defaults.

use std::net::SocketAddr;
use std::time::Duration;

use domain::event::DATA_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// The largest event there is anywhere: what Yandex Cloud allows.
const DATA_BYTES_HARD_MAX: usize = 3_500_000;

/// `[trigger_emitter]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where HTTP, gRPC, health and metrics are served.
    pub listen: SocketAddr,
    /// What is under way has this long to finish when the process is told to stop.
    pub grace_period: settings::Duration,
    /// Bytes of data one event may carry.
    pub data_bytes_max: usize,
    /// Bytes one request may have, all its events together.
    pub request_bytes_max: usize,
    /// Events one request may bring.
    pub request_events_max: usize,
    /// Bytes of requests that are being accepted at a time; more are refused with 429.
    pub in_flight_bytes_max: u32,
    /// A request's body has to be here within this time.
    pub body_timeout: settings::Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8701)),
            grace_period: Duration::from_secs(25).into(),
            data_bytes_max: DATA_BYTES_MAX,
            request_bytes_max: 4 * 1024 * 1024,
            request_events_max: 1_000,
            in_flight_bytes_max: 128 * 1024 * 1024,
            body_timeout: Duration::from_secs(30).into(),
        }
    }
}

impl Config {
    /// Lists what is out of range.
    pub fn check(&self, faults: &mut settings::Faults) {
        if !(1..=DATA_BYTES_HARD_MAX).contains(&self.data_bytes_max) {
            let value = self.data_bytes_max;
            faults.add(format!(
                "trigger_emitter.data_bytes_max is {value}, and has to be from 1 to {DATA_BYTES_HARD_MAX}"
            ));
        }
        if self.request_bytes_max < self.data_bytes_max {
            faults.add("trigger_emitter.request_bytes_max has to be at least data_bytes_max");
        }
        if self.request_events_max == 0 {
            faults
                .add("trigger_emitter.request_events_max is 0: at least 1 event has to be allowed");
        }
        let in_flight_max = usize::try_from(self.in_flight_bytes_max).unwrap_or(usize::MAX);
        if in_flight_max < self.request_bytes_max {
            faults.add("trigger_emitter.in_flight_bytes_max has to be at least request_bytes_max");
        }
    }
}
