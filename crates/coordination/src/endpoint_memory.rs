//! What was learned about endpoints, for whoever owns them next.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::Unavailable;

/// What was learned about an endpoint is worth nothing after this time.
pub const LEARNED_FOR: Duration = Duration::from_mins(10);

/// Keeps a short text for each endpoint. Advisory: who cannot read it learns anew.
#[async_trait]
pub trait EndpointMemory: Send + Sync + fmt::Debug {
    /// Keeps these texts, for [`LEARNED_FOR`]; the newest of an endpoint counts.
    async fn keep(&self, learned: &[(String, String)]) -> Result<(), Unavailable>;
    /// What is known of these endpoints; the answers are in the same order.
    async fn recall(&self, endpoints: &[String]) -> Result<Vec<Option<String>>, Unavailable>;
}
