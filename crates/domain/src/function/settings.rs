//! How a function wants to be called: how much at a time, how fast, with what on the request.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::direct::{AnswerShape, Handler};

/// What can be set about a function beyond its URL; the defaults call it as fast as it bears.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FunctionSettings {
    /// While it is set nobody calls it, and what it is owed waits.
    pub is_paused: bool,
    /// Set when the function was switched off by itself; it is called no more until it is resumed.
    pub disabled: Option<Disabled>,
    /// Requests under way at a time, over all workers; the endpoint's learned limit is never above.
    pub concurrency_max: Option<u16>,
    /// Deliveries a second, and how many may come at once.
    pub rate: Option<RateLimit>,
    /// Sent with every request; names in lower case, none of those that tripline sets itself.
    pub headers: Vec<(String, String)>,
    /// Several deliveries in one request, for a function that asks for it.
    pub batching: Option<Batching>,
    /// An answer of 410 switches the function off.
    pub disable_on_gone: bool,
    /// A function that has failed for this long without a success is switched off.
    pub disable_after: Option<Duration>,
    /// Which kinds of Standard Webhooks signature are sent.
    pub signing: Signing,
    /// How the `X-SC-Token` is signed; `None` sends none.
    pub token: Option<TokenAlgorithm>,
    /// An HTTP proxy that requests go through.
    pub proxy: Option<Url>,
    /// Authorities that are trusted for this function instead of the machine's own, PEM.
    pub authorities: Option<String>,
    /// A second name within its package, by Kii's rule for names: `onOrderCreated`.
    pub endpoint: Option<String>,
    /// JSON Schema that the parameters of a direct call must satisfy; the text as it was given.
    pub parameters_schema: Option<String>,
    /// What the caller of a direct call is answered.
    pub answer: AnswerShape,
    /// What the function has methods for; empty where nobody said.
    pub handlers: Vec<Handler>,
}

/// Why and since when a function is switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    pub reason: String,
    pub at: Timestamp,
}

/// A ceiling on how fast a function is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Deliveries a second, above 0.
    pub per_second: f64,
    /// How many may come at once after a rest, at least 1.
    pub burst: u32,
}

/// How deliveries are gathered into one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// A request carries at most this many, 2 to 1,000.
    pub size_max: u32,
    /// The first one of a request waits no longer than this for others.
    pub cutoff: Duration,
}

/// Which kinds of signature a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signing {
    /// `v1`, HMAC-SHA256 with the signing secret.
    #[default]
    Hmac,
    /// `v1a`, ed25519; the receiver needs only the public key.
    Ed25519,
    /// Both, for a receiver that is changing over.
    Both,
}

impl Signing {
    pub const ALL: [Self; 3] = [Self::Hmac, Self::Ed25519, Self::Both];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hmac => "v1",
            Self::Ed25519 => "v1a",
            Self::Both => "both",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How an `X-SC-Token` is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// With the project's secret.
    Hs256,
    /// With the system's ed25519 key, whose public half is at `/.well-known/jwks.json`.
    EdDsa,
}

impl TokenAlgorithm {
    pub const ALL: [Self; 2] = [Self::Hs256, Self::EdDsa];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "hs256",
            Self::EdDsa => "eddsa",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How a request shows the endpoint that it may call it. Secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    pub authorization: Authorization,
    /// Client certificate chain and key, PEM.
    pub client_certificate: Option<ClientCertificate>,
    /// Key of the ed25519 signature, `whsk_…`; empty for functions from before there were any.
    pub signing_key: String,
    /// Secrets beside the function's own while they are being rotated: each signs too.
    pub rotating: Vec<RotatingSecret>,
}

/// What goes into the `Authorization` header. Secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Authorization {
    #[default]
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer {
        token: String,
    },
    /// A token from this URL, by the client-credentials grant of RFC 6749.
    OAuth2 {
        token_url: Url,
        client_id: String,
        client_secret: String,
        scope: String,
    },
}

impl Authorization {
    /// Its kind; empty where there is none.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::None => "",
            Self::Basic { .. } => "basic",
            Self::Bearer { .. } => "bearer",
            Self::OAuth2 { .. } => "oauth2",
        }
    }
}

/// For endpoints that ask who calls, by TLS. Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub chain_pem: String,
    pub key_pem: String,
}

/// A function's secrets from before a rotation. Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RotatingSecret {
    /// Sent as `_secret` as long as it is valid.
    pub secret: String,
    pub signing_secret: String,
    /// Empty where there was none.
    pub signing_key: String,
    /// They are not used from then on.
    pub expires_at: Timestamp,
}

/// Secrets are left out.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("authorization", &self.authorization)
            .field("has_certificate", &self.client_certificate.is_some())
            .field("rotating", &self.rotating.len())
            .finish_non_exhaustive()
    }
}

/// Only the kind.
impl fmt::Debug for Authorization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic",
            Self::Bearer { .. } => "Bearer",
            Self::OAuth2 { .. } => "OAuth2",
        })
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientCertificate(…)")
    }
}

impl fmt::Debug for RotatingSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RotatingSecret")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
