//! How a service keeps up with what is configured: a view that a stream from function-handler feeds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use domain::access::Refusal;
use domain::registry::{Registry, Update};
use domain::session::{ClockWatch, Session, SessionError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use settings::SecretString;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tracing::{info, warn};
use url::Url;

use crate::access::INTERNAL_TOKEN_HEADER;
use crate::registry::v1::WatchRegistryRequest;
use crate::registry::v1::registry_service_client::RegistryServiceClient;

/// A snapshot of 100,000 triggers comes in pieces of this size.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// The transport asks this often whether the other side is still there; silence on the stream
/// only means that nothing changed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// `[registry]`: where the other services learn what is configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// URL of function-handler's gRPC server.
    pub server: Url,
    /// What services know each other by. It must be the same for all, and secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretString>,
}

impl Default for Config {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant that a test reads")]
        let server = Url::parse("http://127.0.0.1:8702").expect("a constant URL");
        Self {
            server,
            token: None,
        }
    }
}

impl Config {
    /// A channel that connects when it is first used, and again whenever it must.
    ///
    /// # Errors
    /// When the URL is not one gRPC can call.
    pub fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(self.server.to_string())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(endpoint.connect_lazy())
    }

    /// Says what is missing: without the token nothing is ever learnt.
    pub fn check(&self, faults: &mut settings::Faults) {
        if self
            .token
            .as_ref()
            .is_none_or(|token| token.expose().is_empty())
        {
            faults.add("registry.token is missing: what the services know each other by");
        }
    }

    pub fn token_text(&self) -> Option<String> {
        self.token.as_ref().map(|token| token.expose().clone())
    }
}

/// What is configured, as one process knows it. Clones share it.
#[derive(Debug, Clone)]
pub struct RegistryView {
    registry: Arc<RwLock<Registry>>,
    revision: watch::Sender<Option<u64>>,
    clock: Arc<Mutex<ClockWatch>>,
}

impl Default for RegistryView {
    fn default() -> Self {
        Self {
            registry: Arc::default(),
            revision: watch::Sender::new(None),
            clock: Arc::default(),
        }
    }
}

impl RegistryView {
    /// What is configured, as known here. Hold it briefly and never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn apply(&self, update: Update) {
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        registry.apply(update);
        self.clock().observe(Timestamp::now());
        self.revision.send_replace(Some(registry.revision));
    }

    /// Reads a session that is in force now. None is while the clock, having been set back, comes once
    /// more to when it was made.
    ///
    /// # Errors
    /// Says why it is not in force.
    pub fn read_session(&self, token: &str) -> Result<Session, SessionError> {
        let now = Timestamp::now();
        let session = self.read().read_session(token, now)?;
        let mut clock = self.clock();
        clock.observe(now);
        if clock.doubts(session.issued_at) {
            return Err(SessionError::Expired);
        }
        Ok(session)
    }

    /// The session of a call that carries one in place of an API key.
    ///
    /// # Errors
    /// For one that is not in force, or is of another project than the one that is named.
    pub fn admit_session(&self, token: &str, named: Option<&str>) -> Result<Session, Refusal> {
        let session = self.read_session(token)?;
        match named {
            Some(named) if named != session.project.as_str() => {
                Err(Refusal::UnknownProject(named.to_owned()))
            }
            _ => Ok(session),
        }
    }

    fn clock(&self) -> MutexGuard<'_, ClockWatch> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything is known at all.
    pub fn is_filled(&self) -> bool {
        self.revision.borrow().is_some()
    }

    /// Waits until at least this revision is known here; `false` when it did not come in time.
    pub async fn reaches(&self, revision: u64, deadline: Duration) -> bool {
        let mut changes = self.revision.subscribe();
        let reached = changes.wait_for(|known| known.is_some_and(|known| known >= revision));
        tokio::time::timeout(deadline, reached)
            .await
            .is_ok_and(|result| result.is_ok())
    }

    /// Tells of every change of the revision.
    pub fn changes(&self) -> watch::Receiver<Option<u64>> {
        self.revision.subscribe()
    }
}

/// What a service wants to know of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Projects, the hashes of keys, and what checks sessions.
    Access,
    /// Projects and keys, and functions and triggers without any secret.
    Rules,
    /// Projects and keys, and functions and triggers with their secrets.
    Everything,
}

/// Keeps `view` up to date for ever; returns only when dropped. While function-handler is away the
/// view stays as it was.
pub async fn follow(
    channel: Channel,
    token: Option<String>,
    interest: Interest,
    view: RegistryView,
) {
    let mut back_off = BACK_OFF_MIN;
    loop {
        match follow_once(
            channel.clone(),
            token.as_deref(),
            interest,
            &view,
            &mut back_off,
        )
        .await
        {
            Ok(()) => info!("the registry's stream ended; asking again"),
            Err(status) => {
                warn!(code = ?status.code(), error = status.message(), "the registry cannot be followed");
            }
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}

async fn follow_once(
    channel: Channel,
    token: Option<&str>,
    interest: Interest,
    view: &RegistryView,
    back_off: &mut Duration,
) -> Result<(), Status> {
    let known_revision = if view.is_filled() {
        view.read().revision
    } else {
        0
    };
    let mut request = Request::new(WatchRegistryRequest {
        functions: interest != Interest::Access,
        access: true,
        without_secrets: interest == Interest::Rules,
        known_revision,
    });
    if let Some(token) = token {
        let value = token.parse().map_err(|_not_ascii| {
            Status::unauthenticated("the internal token is not plain ASCII")
        })?;
        request.metadata_mut().insert(INTERNAL_TOKEN_HEADER, value);
    }
    let mut client =
        RegistryServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut stream = client.watch_registry(request).await?.into_inner();
    let mut gathered = Update::default();
    while let Some(answer) = stream.message().await? {
        gathered.revision = answer.revision;
        gathered.is_snapshot |= answer.is_snapshot;
        for change in answer.changes {
            match change.try_into() {
                Ok(change) => gathered.changes.push(change),
                // One thing a newer release made must not hide all the rest.
                Err(error) => warn!(error = %error, "a change of the registry is not understood"),
            }
        }
        if answer.is_complete {
            view.apply(std::mem::take(&mut gathered));
            *back_off = BACK_OFF_MIN;
        }
    }
    Ok(())
}
