//! What can be set about the function-handler, with units, limits and defaults.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[function_handler]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC, health and metrics are served.
    pub listen: SocketAddr,
    /// What is under way has this long to finish when the process is told to stop.
    pub grace_period: settings::Duration,
    /// Messages of one queue that are in hand at a time, 1 to 1,000.
    pub messages_in_hand_max: u16,
    /// The registry is asked for changes this often even if nobody tells of any, 100 ms to 1 min.
    pub registry_poll: settings::Duration,
    /// Deliveries taken out of the waiting room at a time, 1 to 10,000.
    pub release_max: u32,
    /// A replica that dies with deliveries it took out delays them by this long, 1 s to 10 min.
    pub claim_for: settings::Duration,
    /// Whether scripts of API calls can be made and changed.
    pub scripting: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8702)),
            grace_period: settings::Duration::from_secs(25),
            messages_in_hand_max: 64,
            registry_poll: settings::Duration::from_secs(5),
            release_max: 500,
            claim_for: settings::Duration::from_secs(30),
            scripting: true,
        }
    }
}

impl Config {
    /// Lists what is out of range.
    pub fn check(&self, faults: &mut settings::Faults) {
        if !(1..=1_000).contains(&self.messages_in_hand_max) {
            faults.add(format!(
                "function_handler.messages_in_hand_max is {}: 1 to 1000",
                self.messages_in_hand_max
            ));
        }
        if !(100..=60_000).contains(&self.registry_poll.as_millis()) {
            faults.add(format!(
                "function_handler.registry_poll is {}: 100ms to 1m",
                self.registry_poll
            ));
        }
        if !(1..=10_000).contains(&self.release_max) {
            faults.add(format!(
                "function_handler.release_max is {}: 1 to 10000",
                self.release_max
            ));
        }
        if !(1..=600).contains(&self.claim_for.as_secs()) {
            faults.add(format!(
                "function_handler.claim_for is {}: 1s to 10m",
                self.claim_for
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(config: &Config) -> Vec<String> {
        let mut faults = settings::Faults::new("function-handler");
        config.check(&mut faults);
        faults.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn the_defaults_are_within_their_limits_and_every_value_outside_is_named() {
        assert_eq!(faults(&Config::default()), [""; 0]);
        let config = Config {
            release_max: 0,
            messages_in_hand_max: 0,
            ..Config::default()
        };
        assert_eq!(
            faults(&config),
            [
                "function_handler.messages_in_hand_max is 0: 1 to 1000",
                "function_handler.release_max is 0: 1 to 10000",
            ]
        );
    }
}
