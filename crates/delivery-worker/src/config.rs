//! What can be set about the delivery-worker, with units, limits and defaults.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use domain::session::{LIFETIME_DEFAULT, LIFETIME_MAX, LIFETIME_MIN};
use serde::{Deserialize, Serialize};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use url::Url;

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
    /// Where trigger-emitter is served: messages of triggers that come in beside direct calls are
    /// handed on to it.
    pub door: Url,
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
            door: local_door(),
            egress: egress::Config::default(),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "the text is a constant, and a test reads it"
)]
fn local_door() -> Url {
    Url::parse("http://127.0.0.1:8701").expect("a constant URL")
}

impl Config {
    /// A connection to the door, which is opened when it is first needed.
    ///
    /// # Errors
    /// When its URL is not one that can be called.
    pub fn door_channel(&self) -> anyhow::Result<Channel> {
        let mut endpoint = Endpoint::from_shared(self.door.to_string())
            .context("read delivery_worker.door")?
            .connect_timeout(self.connect_timeout.get());
        if self.door.scheme() == "https" {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint
                .tls_config(tls)
                .context("set up TLS for delivery_worker.door")?;
        }
        Ok(endpoint.connect_lazy())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_defaults_can_be_used() {
        assert!(Config::default().door_channel().is_ok());
    }
}
