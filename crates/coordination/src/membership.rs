//! Who is alive in a group, for sharing out shards. Advisory: the broker guards.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::Unavailable;

/// Who is alive in a group, for sharing out shards. Advisory: the broker guards.
#[async_trait]
pub trait Membership: Send + Sync + fmt::Debug {
    /// Says that `member` is alive for the next `time_to_live`.
    async fn announce(
        &self,
        group: &str,
        member: &str,
        time_to_live: Duration,
    ) -> Result<(), Unavailable>;
    /// Says that `member` is leaving.
    async fn leave(&self, group: &str, member: &str) -> Result<(), Unavailable>;
    /// Those alive, sorted.
    async fn members(&self, group: &str) -> Result<Vec<String>, Unavailable>;
}
