//! What can be set about Redis, with limits and defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use settings::{SecretUrl, duration_text};
use url::Url;

/// Settings of the connection to Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `redis://user:password@host:6379/0`, or `rediss://…` with TLS.
    pub url: SecretUrl,
    /// Begins every key, so that several systems may share a Redis.
    pub key_prefix: String,
    /// A call that takes longer has failed; short, because the work goes on without Redis.
    #[serde(with = "duration_text")]
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: SecretUrl::new(local_url()),
            key_prefix: "tripline".to_owned(),
            timeout: Duration::from_millis(500),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "the text is a constant, and every default uses it"
)]
fn local_url() -> Url {
    Url::parse("redis://127.0.0.1:6379/0").expect("a constant URL")
}
