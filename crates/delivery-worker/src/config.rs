//! What can be set about the delivery-worker, with units, limits and defaults.

use std::net::SocketAddr;
use std::time::Duration;

use domain::session::{LIFETIME_DEFAULT, LIFETIME_MAX, LIFETIME_MIN};
use serde::{Deserialize, Serialize};

/// `[delivery_worker]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC, health and metrics are served.
    pub listen: SocketAddr,
    /// What is under way has this long to finish when the process is told to stop.
    pub grace_period: settings::Duration,
    /// Requests to endpoints at a time, over all shards; one endpoint has at most a tenth of them,
    /// or 30, and those whose answers take more than a second have half of them together.
    pub in_flight_max: u16,
    /// Messages of one shard that are in hand at a time.
    pub messages_in_hand_max: u16,
    /// A connection to an endpoint has to stand within this time.
    pub connect_timeout: settings::Duration,
    /// Whether a delivery that failed for good is told as `system.delivery.dead` and `dlq_<trigger>`.
    pub dead_letters: bool,
    /// The session that a request carries for its user is valid this long from the request on, 10m to
    /// 20m.
    pub session_lifetime: settings::Duration,
    /// `[delivery_worker.egress]`: where requests may go.
    pub egress: egress::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8703)),
            grace_period: Duration::from_secs(25).into(),
            in_flight_max: 1_000,
            // Each request that hangs holds its message for two seconds: with a few dozen messages
            // in hand, many such endpoints at once would hold up the shard.
            messages_in_hand_max: 256,
            connect_timeout: Duration::from_secs(3).into(),
            dead_letters: true,
            session_lifetime: LIFETIME_DEFAULT.into(),
            egress: egress::Config::default(),
        }
    }
}

impl Config {
    /// Lists what is out of range.
    pub fn check(&self, faults: &mut settings::Faults) {
        if self.in_flight_max == 0 {
            faults.add("delivery_worker.in_flight_max is 0: at least 1 request has to be allowed");
        }
        if self.messages_in_hand_max == 0 {
            faults.add("delivery_worker.messages_in_hand_max is 0: at least 1 is needed");
        }
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&self.session_lifetime.get()) {
            faults.add(format!(
                "delivery_worker.session_lifetime is {}: 10m to 20m",
                self.session_lifetime
            ));
        }
        if let Err(fault) = self.egress.policy("delivery_worker", false) {
            faults.add(fault);
        }
    }
}
