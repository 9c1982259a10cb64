//! What was learned about endpoints, for whoever owns them next.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::Unavailable;

/// What was learned about an endpoint is worth nothing after this time.
pub const LEARNED_FOR: Duration = Duration::from_mins(10);

/// Keeps a short text for each endpoint, or for something else of a worker's that has a name of its
/// own. Advisory: who cannot read it learns anew.
#[async_trait]
pub trait EndpointMemory: Send + Sync + fmt::Debug {
    /// Whether other processes find what is kept, and this one when it is started anew.
    fn is_shared(&self) -> bool;
    /// Keeps these texts for this time; the newest of a name counts.
    async fn keep(&self, learned: &[(String, String)], time: Duration) -> Result<(), Unavailable>;
    /// What is known under these names; the answers are in the same order.
    async fn recall(&self, names: &[String]) -> Result<Vec<Option<String>>, Unavailable>;
}
