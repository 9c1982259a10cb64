//! Coordination by Redis, one round trip for any number of keys.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::id::EventId;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use tokio::time::timeout;

use crate::Unavailable;
use crate::config::Config;
use crate::endpoint_memory::EndpointMemory;
use crate::idempotency::{IdempotencyKeys, PENDING_FOR, REMEMBERED_FOR, Reservation};
use crate::membership::Membership;

/// After a failure nobody asks for this long, so that callers do not wait for the time limit one
/// after the other.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Values of a key: its phase and the event.
const PENDING: &str = "p:";
const CONFIRMED: &str = "c:";

/// For each key: sets it if it is free, and answers with what it held.
const RESERVE: &str = "\
local held = {}
for i, key in ipairs(KEYS) do
  if redis.call('SET', key, ARGV[i + 1], 'NX', 'PX', ARGV[1]) then
    held[i] = ''
  else
    held[i] = redis.call('GET', key) or ''
  end
end
return held";

const CONFIRM: &str = "\
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
end
return #KEYS";

/// Deletes a key only if it is still held for the same event.
const RELEASE: &str = "\
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[i] then
    redis.call('DEL', key)
  end
end
return #KEYS";

/// Members are kept with the time until which they count, by the clock of Redis alone.
const ANNOUNCE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1";

const MEMBERS: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZRANGE', KEYS[1], 0, -1)";

/// Redis; connects when first asked, and again by itself.
pub struct RedisCoordination {
    connection: ConnectionManager,
    key_prefix: String,
    timeout: Duration,
    rest_until: Mutex<Option<Instant>>,
    scripts: Scripts,
}

struct Scripts {
    reserve: Script,
    confirm: Script,
    release: Script,
    announce: Script,
    members: Script,
}

impl RedisCoordination {
    /// Needs a running tokio, but no running Redis.
    ///
    /// # Errors
    /// When the URL cannot be used at all.
    pub fn new(config: &Config) -> Result<Self, Unavailable> {
        let client = Client::open(config.url.expose().as_str()).map_err(unavailable)?;
        // One try each time: the caller's own time limit is what counts.
        let manager = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(Some(config.timeout))
            .set_number_of_retries(0);
        let connection = client
            .get_connection_manager_lazy(manager)
            .map_err(unavailable)?;
        Ok(Self {
            connection,
            key_prefix: config.key_prefix.clone(),
            timeout: config.timeout,
            rest_until: Mutex::new(None),
            scripts: Scripts {
                reserve: Script::new(RESERVE),
                confirm: Script::new(CONFIRM),
                release: Script::new(RELEASE),
                announce: Script::new(ANNOUNCE),
                members: Script::new(MEMBERS),
            },
        })
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// When it does not, in time.
    pub async fn ping(&self) -> Result<(), Unavailable> {
        let mut connection = self.connection.clone();
        let ping = redis::cmd("PING");
        self.call(async move { ping.query_async::<()>(&mut connection).await })
            .await
    }

    /// The braces keep all keys in one slot of a cluster, so that one script may name many.
    fn key(&self, key: &str) -> String {
        format!("{}:{{idem}}:{key}", self.key_prefix)
    }

    fn group_key(&self, group: &str) -> String {
        format!("{}:{{members}}:{group}", self.key_prefix)
    }

    fn endpoint_key(&self, endpoint: &str) -> String {
        format!("{}:{{endpoint}}:{endpoint}", self.key_prefix)
    }

    async fn call<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>> + Send,
    ) -> Result<T, Unavailable> {
        if self.is_resting() {
            return Err(Unavailable(None));
        }
        let outcome = match timeout(self.timeout, answer).await {
            Ok(answered) => answered.map_err(unavailable),
            Err(elapsed) => Err(Unavailable(Some(elapsed.into()))),
        };
        self.rest(outcome.is_err());
        outcome
    }

    fn is_resting(&self) -> bool {
        let rest_until = self
            .rest_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rest_until.is_some_and(|until| Instant::now() < until)
    }

    fn rest(&self, has_failed: bool) {
        let mut rest_until = self
            .rest_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *rest_until = has_failed.then(|| Instant::now() + REST_AFTER_FAILURE);
    }
}

#[async_trait]
impl IdempotencyKeys for RedisCoordination {
    async fn reserve(&self, keys: &[(String, EventId)]) -> Result<Vec<Reservation>, Unavailable> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut invocation = self.scripts.reserve.prepare_invoke();
        invocation.arg(milliseconds(PENDING_FOR));
        for (key, event) in keys {
            invocation
                .key(self.key(key))
                .arg(format!("{PENDING}{event}"));
        }
        let mut connection = self.connection.clone();
        let held: Vec<String> = self
            .call(async { invocation.invoke_async(&mut connection).await })
            .await?;
        if held.len() != keys.len() {
            return Err(Unavailable(None));
        }
        held.iter().map(|value| read(value)).collect()
    }

    async fn confirm(&self, keys: &[(String, EventId)]) -> Result<(), Unavailable> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut invocation = self.scripts.confirm.prepare_invoke();
        invocation.arg(milliseconds(REMEMBERED_FOR));
        for (key, event) in keys {
            invocation
                .key(self.key(key))
                .arg(format!("{CONFIRMED}{event}"));
        }
        let mut connection = self.connection.clone();
        self.call(async { invocation.invoke_async(&mut connection).await })
            .await
    }

    async fn release(&self, keys: &[(String, EventId)]) -> Result<(), Unavailable> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut invocation = self.scripts.release.prepare_invoke();
        for (key, event) in keys {
            invocation
                .key(self.key(key))
                .arg(format!("{PENDING}{event}"));
        }
        let mut connection = self.connection.clone();
        self.call(async { invocation.invoke_async(&mut connection).await })
            .await
    }
}

#[async_trait]
impl Membership for RedisCoordination {
    async fn announce(
        &self,
        group: &str,
        member: &str,
        time_to_live: Duration,
    ) -> Result<(), Unavailable> {
        let mut invocation = self.scripts.announce.prepare_invoke();
        invocation
            .key(self.group_key(group))
            .arg(member)
            .arg(milliseconds(time_to_live));
        let mut connection = self.connection.clone();
        self.call(async { invocation.invoke_async(&mut connection).await })
            .await
    }

    async fn leave(&self, group: &str, member: &str) -> Result<(), Unavailable> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.group_key(group)).arg(member);
        let mut connection = self.connection.clone();
        self.call(async { command.query_async(&mut connection).await })
            .await
    }

    async fn members(&self, group: &str) -> Result<Vec<String>, Unavailable> {
        let mut invocation = self.scripts.members.prepare_invoke();
        invocation.key(self.group_key(group));
        let mut connection = self.connection.clone();
        let mut members: Vec<String> = self
            .call(async { invocation.invoke_async(&mut connection).await })
            .await?;
        members.sort_unstable();
        Ok(members)
    }
}

#[async_trait]
impl EndpointMemory for RedisCoordination {
    fn is_shared(&self) -> bool {
        true
    }

    async fn keep(&self, learned: &[(String, String)], time: Duration) -> Result<(), Unavailable> {
        if learned.is_empty() {
            return Ok(());
        }
        let mut together = redis::pipe();
        for (endpoint, text) in learned {
            together
                .cmd("SET")
                .arg(self.endpoint_key(endpoint))
                .arg(text)
                .arg("PX")
                .arg(milliseconds(time))
                .ignore();
        }
        let mut connection = self.connection.clone();
        self.call(async { together.query_async(&mut connection).await })
            .await
    }

    async fn recall(&self, endpoints: &[String]) -> Result<Vec<Option<String>>, Unavailable> {
        if endpoints.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for endpoint in endpoints {
            command.arg(self.endpoint_key(endpoint));
        }
        let mut connection = self.connection.clone();
        self.call(async { command.query_async(&mut connection).await })
            .await
    }
}

impl std::fmt::Debug for RedisCoordination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RedisCoordination")
            .field("key_prefix", &self.key_prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A value nobody of ours wrote is as bad as no answer: the event is then accepted unguarded.
fn read(value: &str) -> Result<Reservation, Unavailable> {
    let event = |text: &str| {
        text.parse::<EventId>()
            .map_err(|error| Unavailable(Some(error.to_string().into())))
    };
    if value.is_empty() {
        Ok(Reservation::Reserved)
    } else if let Some(text) = value.strip_prefix(CONFIRMED) {
        event(text).map(Reservation::Confirmed)
    } else {
        event(value.strip_prefix(PENDING).unwrap_or(value)).map(Reservation::Pending)
    }
}

fn unavailable(error: RedisError) -> Unavailable {
    Unavailable(Some(error.into()))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
