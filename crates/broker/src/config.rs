//! What can be set about the broker, with units, limits and defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use settings::{SecretUrl, duration_text};
use url::Url;

use crate::topology::Topology;

/// `RabbitMQ` becomes slower per message when more confirms than this are open on a channel.
const CONFIRMS_OPEN_MAX: u16 = 2_000;

/// Settings of the connection to `RabbitMQ` and of the queues there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://…`.
    pub url: SecretUrl,
    /// How many queues events are spread over; fixed when a system is installed.
    pub event_shards: u16,
    /// How many queues deliveries are spread over; fixed when a system is installed.
    pub delivery_shards: u16,
    /// A message that is not confirmed within this time counts as failed.
    #[serde(with = "duration_text")]
    pub publish_timeout: Duration,
    /// Messages on their way to the broker at a time, below 2,000; others wait.
    pub publishes_in_flight_max: u16,
    /// A queue that holds this many bytes refuses more; fixed when a system is installed.
    pub queue_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        let topology = Topology::default();
        Self {
            url: SecretUrl::new(local_url()),
            event_shards: topology.event_shards,
            delivery_shards: topology.delivery_shards,
            publish_timeout: Duration::from_secs(10),
            publishes_in_flight_max: 1_500,
            queue_bytes_max: 1024 * 1024 * 1024,
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "the text is a constant, and a test reads it"
)]
fn local_url() -> Url {
    Url::parse("amqp://guest:guest@127.0.0.1:5672/%2f").expect("a constant URL")
}

/// Why the broker's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the broker's url has to be amqp://user:password@host:port/vhost or amqps://…: {0}")]
    Url(String),
    #[error("{field} is {value}, and has to be from {min} to {max}")]
    OutOfRange {
        field: &'static str,
        value: u64,
        min: u64,
        max: u64,
    },
}

impl Config {
    pub const fn topology(&self) -> Topology {
        Topology {
            event_shards: self.event_shards,
            delivery_shards: self.delivery_shards,
        }
    }

    /// # Errors
    /// Names the first value that cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_range("event_shards", self.event_shards.into(), 1, 256)?;
        check_range("delivery_shards", self.delivery_shards.into(), 1, 256)?;
        let confirms_max = u64::from(CONFIRMS_OPEN_MAX - 1);
        let in_flight = u64::from(self.publishes_in_flight_max);
        check_range("publishes_in_flight_max", in_flight, 1, confirms_max)?;
        // At least some messages of the largest size.
        check_range(
            "queue_bytes_max",
            self.queue_bytes_max,
            64 * 1024,
            i64::MAX.unsigned_abs(),
        )
    }
}

const fn check_range(
    field: &'static str,
    value: u64,
    min: u64,
    max: u64,
) -> Result<(), ConfigError> {
    if value < min || value > max {
        return Err(ConfigError::OutOfRange {
            field,
            value,
            min,
            max,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_window_of_too_many_confirms_is_refused() {
        let config = Config {
            publishes_in_flight_max: 2_000,
            ..Config::default()
        };
        let refused = config.check().unwrap_err().to_string();
        assert_eq!(
            refused,
            "publishes_in_flight_max is 2000, and has to be from 1 to 1999"
        );
    }
}
