//! What can be set about the api-gateway, with units, limits and defaults.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

/// `[api_gateway]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where calls, health and metrics are served.
    pub listen: SocketAddr,
    /// What is under way has this long to finish when the process is told to stop.
    pub grace_period: settings::Duration,
    /// URL of the delivery-worker that runs scripts.
    pub scripts: Url,
    /// A body that scripts are to see may have this many bytes, 1 KiB to 4 MiB.
    pub body_bytes_max: usize,
    /// Calls with scripts that are under way at a time, 1 to 10,000; more are answered with 503.
    pub intercepted_max: u16,
    /// A client has this long to send a body that scripts are to see, 1 s to 5 min.
    pub body_timeout: settings::Duration,
    /// A connection to a service has to stand within this time, 10 ms to 1 min.
    pub connect_timeout: settings::Duration,
    /// A service has this long to begin its answer, 100 ms to 10 min.
    pub response_timeout: settings::Duration,
    /// An event that scripts are queued for has this long to become durable, before the call is
    /// answered without it, 100 ms to 1 min.
    pub queue_timeout: settings::Duration,
    /// `[api_gateway.egress]`: where calls may go.
    pub egress: egress::Config,
}

impl Default for Config {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant that a test reads")]
        let scripts = Url::parse("http://127.0.0.1:8703").expect("a constant URL");
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8705)),
            grace_period: Duration::from_secs(25).into(),
            scripts,
            body_bytes_max: 4 * 1024 * 1024,
            // With full bodies on both sides these hold two gigabytes; most bodies are small.
            intercepted_max: 256,
            body_timeout: Duration::from_secs(30).into(),
            connect_timeout: Duration::from_secs(3).into(),
            response_timeout: Duration::from_secs(60).into(),
            queue_timeout: Duration::from_secs(5).into(),
            egress: egress::Config::default(),
        }
    }
}

impl Config {
    /// Lists what is out of range.
    pub fn check(&self, faults: &mut settings::Faults) {
        if !(1024..=4 * 1024 * 1024).contains(&self.body_bytes_max) {
            faults.add(format!(
                "api_gateway.body_bytes_max is {}: 1024 to 4194304",
                self.body_bytes_max
            ));
        }
        if !(1..=10_000).contains(&self.intercepted_max) {
            faults.add(format!(
                "api_gateway.intercepted_max is {}: 1 to 10000",
                self.intercepted_max
            ));
        }
        let minute = Duration::from_secs(60);
        for (name, value, least, most) in [
            (
                "body_timeout",
                self.body_timeout,
                Duration::from_secs(1),
                5 * minute,
            ),
            (
                "connect_timeout",
                self.connect_timeout,
                Duration::from_millis(10),
                minute,
            ),
            (
                "response_timeout",
                self.response_timeout,
                Duration::from_millis(100),
                10 * minute,
            ),
            (
                "queue_timeout",
                self.queue_timeout,
                Duration::from_millis(100),
                minute,
            ),
        ] {
            if !(least..=most).contains(&value.get()) {
                faults.add(format!(
                    "api_gateway.{name} is {value}: {} to {}",
                    settings::Duration::from(least),
                    settings::Duration::from(most)
                ));
            }
        }
        if let Err(fault) = self.egress.policy("api_gateway", false) {
            faults.add(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_limits_and_every_value_outside_is_named() {
        let faults = |config: &Config| {
            let mut faults = settings::Faults::new("api-gateway");
            config.check(&mut faults);
            faults.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(faults(&Config::default()), [""; 0]);
        let wrong = Config {
            body_bytes_max: 0,
            queue_timeout: Duration::ZERO.into(),
            ..Config::default()
        };
        assert_eq!(
            faults(&wrong),
            [
                "api_gateway.body_bytes_max is 0: 1024 to 4194304",
                "api_gateway.queue_timeout is 0s: 100ms to 1m",
            ]
        );
    }
}
