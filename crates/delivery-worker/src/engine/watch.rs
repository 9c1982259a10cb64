//! Functions that want to be switched off when they only fail: since when each does, and when it is
//! enough.
//!
//! What is known goes to the endpoints' memory, under the function's name, so that a restart or
//! another owner of its shard goes on counting. Where that is away, the count begins anew: a
//! function may be switched off late, and never early.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coordination::{EndpointMemory, Unavailable};
use domain::Timestamp;
use domain::delivery::Disable;
use domain::disable::{Sign, reason_to_disable};
use domain::function::Function;
use domain::name::{FunctionName, ProjectName};
use moka::sync::Cache;
use tracing::{debug, warn};

use crate::deliver::Called;

/// Longer than any function waits before it is switched off, which is 30 days.
const REMEMBERED_FOR: Duration = Duration::from_hours(31 * 24);

/// That a function works is told again after this time, since another worker may have told
/// something else meanwhile.
const WORKS_FOR: Duration = Duration::from_mins(1);

/// While the memory is away, it is tried no more often.
const TELLS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A function whose end was ordered is not called for this long, or until the registry says more.
const OFF_FOR: Duration = Duration::from_mins(1);

/// Functions that are watched at a time; one that is forgotten is asked of the memory.
const FUNCTIONS_MAX: u64 = 10_000;

type Key = (ProjectName, FunctionName);

#[derive(Debug)]
pub(super) struct Watch {
    seen: Cache<Key, Seen>,
    off: Mutex<HashMap<Key, Off>>,
    memory: Arc<dyn EndpointMemory>,
}

/// What is known of a function.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Works {
        /// When the memory is told again.
        tells_at: Instant,
    },
    Fails {
        since: Timestamp,
        /// When the memory is told again, if it has not heard of it.
        tells_at: Option<Instant>,
    },
}

/// That the end of a function was ordered.
#[derive(Debug, Clone, Copy)]
struct Off {
    revision: u64,
    until: Instant,
}

impl Watch {
    pub(super) fn new(memory: Arc<dyn EndpointMemory>) -> Self {
        Self {
            seen: Cache::new(FUNCTIONS_MAX),
            off: Mutex::default(),
            memory,
        }
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.off().is_empty()
    }

    /// Whether the end of the function, as it is set up now, was ordered here a short while ago.
    pub(super) fn is_off(&self, function: &Function) -> bool {
        let now = Instant::now();
        let mut off = self.off();
        off.retain(|_, off| now < off.until);
        off.get(&key_of(function))
            .is_some_and(|off| off.revision == function.revision)
    }

    /// Learns from a call, and says so once when it was the last.
    pub(super) async fn observe(&self, called: &Called) -> Option<Disable> {
        let function = called.function.as_ref();
        let since = match (function.settings.disable_after, called.sign) {
            (None, _) => called.at,
            (Some(_), Sign::Works) => {
                self.works(function).await;
                return None;
            }
            (Some(_), Sign::Fails | Sign::Gone) => self.fails(called).await,
        };
        let reason = reason_to_disable(function, called.sign, since, called.at)?;
        if self.is_off(function) {
            // Another call has ordered it.
            return None;
        }
        let off = Off {
            revision: function.revision,
            until: Instant::now() + OFF_FOR,
        };
        self.off().insert(key_of(function), off);
        warn!(project = %function.project, function = %function.name, reason, "a function is to be switched off");
        Some(Disable {
            project: function.project.clone(),
            function: function.name.clone(),
            reason,
            at: called.at,
            revision: function.revision,
        })
    }

    async fn works(&self, function: &Function) {
        let (key, now) = (key_of(function), Instant::now());
        if let Some(Seen::Works { tells_at }) = self.seen.get(&key)
            && now < tells_at
        {
            return;
        }
        // Known here at once, whatever the memory says.
        let tells_at = now + TELLS_AGAIN_AFTER;
        self.seen.insert(key.clone(), Seen::Works { tells_at });
        if self.tell(function, "works".to_owned()).await {
            let tells_at = now + WORKS_FOR;
            self.seen.insert(key, Seen::Works { tells_at });
        }
    }

    /// Since when the function only fails.
    async fn fails(&self, called: &Called) -> Timestamp {
        let function = called.function.as_ref();
        match self.seen.get(&key_of(function)) {
            Some(Seen::Fails {
                since,
                tells_at: None,
            }) => {
                let is_enough = reason_to_disable(function, Sign::Fails, since, called.at);
                if is_enough.is_some() {
                    self.confirmed(called, since).await
                } else {
                    since
                }
            }
            // What nobody else could hear of does not count.
            Some(Seen::Fails {
                tells_at: Some(at), ..
            }) if Instant::now() < at => called.at,
            Some(Seen::Fails { .. } | Seen::Works { .. }) => self.begin(function, called.at).await,
            None => match self.recall(function).await {
                Ok(Some(seen @ Seen::Fails { since, .. })) => {
                    self.seen.insert(key_of(function), seen);
                    since
                }
                Ok(_) | Err(_) => self.begin(function, called.at).await,
            },
        }
    }

    /// Whoever owned the shard meanwhile may have seen the function work.
    async fn confirmed(&self, called: &Called, since: Timestamp) -> Timestamp {
        let function = called.function.as_ref();
        match self.recall(function).await {
            Err(error) => {
                debug!(%error, "what others knew of a function is not to be had");
                called.at
            }
            Ok(None) => since,
            Ok(Some(Seen::Works { .. })) => self.begin(function, called.at).await,
            Ok(Some(seen @ Seen::Fails { since, .. })) => {
                self.seen.insert(key_of(function), seen);
                since
            }
        }
    }

    async fn begin(&self, function: &Function, since: Timestamp) -> Timestamp {
        let tells_at = Some(Instant::now() + TELLS_AGAIN_AFTER);
        let key = key_of(function);
        self.seen
            .insert(key.clone(), Seen::Fails { since, tells_at });
        let text = format!("failing-since={}", since.as_millisecond());
        if self.tell(function, text).await {
            let tells_at = None;
            self.seen.insert(key, Seen::Fails { since, tells_at });
        }
        since
    }

    async fn tell(&self, function: &Function, text: String) -> bool {
        let told = [(name_of(function), text)];
        match self.memory.keep(&told, REMEMBERED_FOR).await {
            Ok(()) => true,
            Err(error) => {
                debug!(%error, "whether a function works is not kept");
                false
            }
        }
    }

    async fn recall(&self, function: &Function) -> Result<Option<Seen>, Unavailable> {
        let texts = self.memory.recall(&[name_of(function)]).await?;
        Ok(texts.into_iter().next().flatten().as_deref().and_then(read))
    }

    fn off(&self) -> MutexGuard<'_, HashMap<Key, Off>> {
        self.off.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(text: &str) -> Option<Seen> {
    if text == "works" {
        let tells_at = Instant::now();
        return Some(Seen::Works { tells_at });
    }
    let milliseconds = text.strip_prefix("failing-since=")?.parse().ok()?;
    let since = Timestamp::from_millisecond(milliseconds).ok()?;
    let tells_at = None;
    Some(Seen::Fails { since, tells_at })
}

fn key_of(function: &Function) -> Key {
    (function.project.clone(), function.name.clone())
}

/// Of three parts, where an endpoint's name has two.
fn name_of(function: &Function) -> String {
    format!("function {} {}", function.project, function.name)
}

#[cfg(test)]
mod tests;
