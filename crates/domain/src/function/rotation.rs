//! Changing a function's secrets without a moment at which its receiver knows none of them.
//!
//! A rotation makes new secrets the function's own and keeps those from before beside them. Until
//! these expire, or the new ones are promoted, requests are signed with both and the body still
//! carries the old `_secret`: whoever runs the receiver has that long to bring in the new ones.

use std::time::Duration;

use jiff::Timestamp;

use super::{Function, RotatingSecret};

/// Longest time in which secrets from before stay valid: a month of somebody's holidays.
pub const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Usual time: a working day of whoever runs the receiver.
pub const OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// All secrets of a function, freshly made.
#[derive(Clone, PartialEq, Eq)]
pub struct FreshSecrets {
    /// Sent as `_secret`.
    pub secret: String,
    /// `whsec_…`.
    pub signing_secret: String,
    /// `whsk_…`.
    pub signing_key: String,
}

/// Secrets are left out.
impl std::fmt::Debug for FreshSecrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FreshSecrets(…)")
    }
}

/// Another rotation is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its secrets are being rotated until {until}: promote the new ones first")]
pub struct RotationOpen {
    pub until: Timestamp,
}

impl Function {
    /// Secrets from before that are still valid, the latest first.
    pub fn still_valid(&self, now: Timestamp) -> impl Iterator<Item = &RotatingSecret> {
        let rotating = self.credentials.rotating.iter().rev();
        rotating.filter(move |secret| now < secret.expires_at)
    }

    /// What is sent as `_secret`: the one that the receiver is sure to know.
    pub fn secret_at(&self, now: Timestamp) -> &str {
        if self.credentials.rotating.is_empty() {
            return &self.secret;
        }
        let before = self.still_valid(now).last();
        before.map_or(&self.secret, |before| &before.secret)
    }

    /// Makes `fresh` the function's own secrets; those it has stay valid for `overlap`.
    ///
    /// # Errors
    /// Those from before the last rotation are still valid: there are never more than two.
    pub fn rotate(
        &mut self,
        fresh: FreshSecrets,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<(), RotationOpen> {
        if let Some(before) = self.still_valid(now).next() {
            return Err(RotationOpen {
                until: before.expires_at,
            });
        }
        let before = RotatingSecret {
            secret: std::mem::replace(&mut self.secret, fresh.secret),
            signing_secret: std::mem::replace(&mut self.signing_secret, fresh.signing_secret),
            signing_key: std::mem::replace(&mut self.credentials.signing_key, fresh.signing_key),
            expires_at: now.saturating_add(overlap).unwrap_or(Timestamp::MAX),
        };
        self.credentials.rotating = vec![before];
        self.credentials
            .rotating
            .retain(|secret| now < secret.expires_at);
        Ok(())
    }

    /// From now on only the newest secrets are used. Whether others were valid until now.
    pub fn promote(&mut self, now: Timestamp) -> bool {
        let was_open = self.still_valid(now).next().is_some();
        self.credentials.rotating.clear();
        was_open
    }
}
