//! What can be set about the databases, with limits and defaults.

use serde::{Deserialize, Serialize};
use settings::{Duration, SecretString, SecretUrl};

use crate::{Cipher, Error};

/// Settings of the connection to `PostgreSQL`, and of what is encrypted there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `postgres://user:password@host:5432/database`; TLS by `?sslmode=verify-full`.
    pub url: Option<SecretUrl>,
    /// Connections of this process, besides one that listens.
    pub connections_max: u32,
    /// A call that gets no connection within this time has failed.
    pub acquire_timeout: Duration,
    /// A statement that takes longer is given up by the server.
    pub statement_timeout: Duration,
    /// 64 hexadecimal digits a line: the key that seals functions' secrets, then older ones that
    /// still open what they sealed. Only function-handler needs it.
    pub encryption_key: Option<SecretString>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            connections_max: 8,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            encryption_key: None,
        }
    }
}

impl Config {
    /// The settings of a database at `url`, with defaults for the rest.
    pub fn at(url: SecretUrl) -> Self {
        Self {
            url: Some(url),
            ..Self::default()
        }
    }

    /// The cipher for [`crate::postgres::Postgres::registry`].
    ///
    /// # Errors
    /// There is no key, or it is unusable.
    pub fn cipher(&self) -> Result<Cipher, Error> {
        let key = self.encryption_key.as_ref();
        Cipher::from_text(key.ok_or(Error::Key("encryption_key is not set"))?.expose())
    }

    /// What is wrong with these settings, as sentences.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.url.is_none() {
            faults.push("url is missing: postgres://user:password@host/database".to_owned());
        }
        if !(1..=1000).contains(&self.connections_max) {
            faults.push(format!(
                "connections_max is {}: 1 to 1000",
                self.connections_max
            ));
        }
        if self.acquire_timeout.is_zero() {
            faults.push("acquire_timeout is 0: at least 1ms".to_owned());
        }
        faults
    }
}
