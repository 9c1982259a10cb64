//! What can be set about the log-service, with units, limits and defaults.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_hours(24);

/// People come back after a week to see what happened.
const RETENTION_MIN: Duration = DAY.saturating_mul(7);

const OWED_FOR_MAX: Duration = Duration::from_mins(10);

/// `[log_service]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC, HTTP, health and metrics are served.
    pub listen: SocketAddr,
    /// What is under way has this long to finish when the process is told to stop.
    pub grace_period: settings::Duration,
    /// What happened is kept for this long, in whole days; 7 days at least.
    pub retention: settings::Duration,
    /// Messages of records that are in hand at a time.
    pub messages_in_hand_max: u16,
    /// Records stored in one transaction.
    pub records_max: usize,
    /// How long the first record of a transaction waits for others.
    pub gather_for: settings::Duration,
    /// Where much goes on, a delivery of which nothing but its event is known has no row for so long,
    /// and a listing by function or status does not know it; 10m at most.
    pub owed_for: settings::Duration,
    /// Clients that follow at a time.
    pub followers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8704)),
            grace_period: Duration::from_secs(25).into(),
            retention: RETENTION_MIN.into(),
            messages_in_hand_max: 64,
            records_max: 1_000,
            gather_for: Duration::from_millis(50).into(),
            // Longer than deliveries wait for their worker where everybody keeps up.
            owed_for: Duration::from_secs(30).into(),
            followers_max: 64,
        }
    }
}

impl Config {
    /// Lists what is out of range.
    pub fn check(&self, faults: &mut settings::Faults) {
        if self.retention.get() < RETENTION_MIN {
            let value = self.retention;
            faults.add(format!(
                "log_service.retention is {value}, and has to be 7days or more"
            ));
        }
        if self.messages_in_hand_max == 0 {
            faults.add("log_service.messages_in_hand_max is 0: at least 1 is needed");
        }
        if !(1..=10_000).contains(&self.records_max) {
            let value = self.records_max;
            faults.add(format!(
                "log_service.records_max is {value}, and has to be from 1 to 10000"
            ));
        }
        if self.owed_for.get() > OWED_FOR_MAX {
            let value = self.owed_for;
            faults.add(format!(
                "log_service.owed_for is {value}, and has to be 10m or less"
            ));
        }
        if self.gather_for.get() > Duration::from_secs(1) {
            let value = self.gather_for;
            faults.add(format!(
                "log_service.gather_for is {value}, and has to be 1s or less"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &Config) -> String {
        let mut faults = settings::Faults::new("log-service");
        config.check(&mut faults);
        faults
            .or_ok(())
            .err()
            .map(|faults| faults.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn s1_19_x_12_less_than_seven_days_are_refused() {
        assert_eq!(check(&Config::default()), "");
        let short = Config {
            retention: (DAY * 6).into(),
            ..Config::default()
        };
        let refused = check(&short);
        assert!(
            refused.contains("log_service.retention is 6days"),
            "{refused}"
        );
    }
}
