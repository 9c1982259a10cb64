//! The function session: by which a function acts for the user whose event it was called for.
//!
//! A JSON Web Token (RFC 7519) signed with the system's ed25519 key, with `typ` `fs`, so that it never
//! passes for another token of the same key. It lives from the request on, for a quarter of an hour
//! unless the operator says otherwise, and is read here only: what signs is known, the algorithm is
//! not the token's to choose, and nothing of it is believed before its signature is checked.

mod clock;
mod revocation;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

pub use self::clock::ClockWatch;
pub use self::revocation::{RevocationSubject, SessionRevocation, deleted_user};
use crate::event::{Actor, Event};
use crate::id::{DeliveryId, EventId};
use crate::lineage::Lineage;
use crate::name::{FunctionName, ProjectName};
use crate::signature::{SignatureError, ed25519};
use crate::token::{ISSUER, TokenKey, TokenKeys};

/// The header a session travels in, where the body has no place for it.
pub const SESSION_HEADER: &str = "x-function-session";

/// What schmuckliCloud promises: no less than 10 minutes, no more than 20.
pub const LIFETIME_MIN: Duration = Duration::from_mins(10);
pub const LIFETIME_MAX: Duration = Duration::from_mins(20);
pub const LIFETIME_DEFAULT: Duration = Duration::from_mins(15);

/// Clocks of our own machines differ by less than this.
pub const SKEW: Duration = Duration::from_secs(60);

/// `typ` in the token's head.
const TYPE: &str = "fs";
const ALGORITHM: &str = "EdDSA";

/// Longer texts are no session: the longest we make has 8 names of 127 bytes and an actor of 2 KiB.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Of the functions on the way the session names the latest; the depth counts on.
const ANCESTRY_MAX: usize = 8;

/// What a session says: who may act, for whom, because of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Never given twice.
    pub id: String,
    pub project: ProjectName,
    /// The user the function acts for.
    pub actor: Actor,
    pub function: FunctionName,
    pub delivery: DeliveryId,
    pub event: EventId,
    /// What events of the function come from.
    pub lineage: Lineage,
    /// When the request was sent, to the second.
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The request a session is made for.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub event: &'a Event,
    pub function: &'a FunctionName,
    pub delivery: DeliveryId,
    pub now: Timestamp,
    /// Within [`LIFETIME_MIN`] and [`LIFETIME_MAX`]; outside, the nearer of the two.
    pub lifetime: Duration,
}

/// Why a text is no session that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("this is no function session of this system")]
    Unknown,
    #[error("the function session was made in the future, by this server's clock")]
    NotYet,
    #[error("the function session has expired")]
    Expired,
    #[error("the function session was revoked: its user or its function is gone")]
    Revoked,
}

/// The public halves of the keys that sign sessions.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SessionKeys {
    pub keys: Vec<SessionKey>,
    /// The registry's revision that last changed them.
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKey {
    pub kid: String,
    /// 32 bytes.
    pub public: Vec<u8>,
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids = self.keys.iter().map(|key| &key.kid);
        formatter.debug_list().entries(kids).finish()
    }
}

impl SessionKeys {
    /// The public halves of the system's keys. One that is none is left out.
    pub fn of(keys: &TokenKeys) -> Self {
        let public = keys.keys.iter().filter_map(|key| {
            Some(SessionKey {
                kid: key.kid.clone(),
                public: ed25519::public_key_bytes(&key.secret).ok()?,
            })
        });
        Self {
            keys: public.collect(),
            revision: keys.revision,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    actor_kind: String,
    project: String,
    function: String,
    delivery: String,
    event: String,
    depth: u32,
    ancestry: Vec<String>,
    iat: i64,
    exp: i64,
    jti: String,
}

impl Session {
    /// The session of an attempt; `None` when nobody acted. `id` is random.
    pub fn of(attempt: &Attempt<'_>, id: String) -> Option<Self> {
        let event = attempt.event;
        let actor = event.actor.clone()?;
        let mut lineage = Lineage::of_call(event, attempt.function);
        let surplus = lineage.ancestry.len().saturating_sub(ANCESTRY_MAX);
        lineage.ancestry.drain(..surplus);
        let lifetime = attempt.lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX);
        let issued_at = whole_second(attempt.now.as_second())?;
        Some(Self {
            id,
            project: event.project.clone(),
            actor,
            function: attempt.function.clone(),
            delivery: attempt.delivery,
            event: event.eid,
            lineage,
            issued_at,
            expires_at: issued_at.saturating_add(lifetime).unwrap_or(issued_at),
        })
    }

    /// The token.
    ///
    /// # Errors
    /// When the key is no ed25519 key.
    pub fn sign(&self, key: &TokenKey) -> Result<String, SignatureError> {
        let head = Head {
            alg: ALGORITHM.to_owned(),
            typ: TYPE.to_owned(),
            kid: key.kid.clone(),
        };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: self.actor.id.clone(),
            actor_kind: self.actor.kind.clone(),
            project: self.project.to_string(),
            function: self.function.to_string(),
            delivery: self.delivery.to_string(),
            event: self.event.to_string(),
            depth: self.lineage.depth,
            ancestry: self.lineage.ancestry.clone(),
            iat: self.issued_at.as_second(),
            exp: self.expires_at.as_second(),
            jti: self.id.clone(),
        };
        let mut token = encode(&head)?;
        token.push('.');
        token.push_str(&encode(&claims)?);
        let signature = ed25519::sign_bytes(&key.secret, token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// Reads a token, if one of `keys` signed it and it is in force at `now`. Whether it was revoked
    /// is for the registry to say.
    ///
    /// # Errors
    /// Says why it is not in force.
    pub fn read(token: &str, keys: &SessionKeys, now: Timestamp) -> Result<Self, SessionError> {
        let session = Self::read_signed(token, keys).ok_or(SessionError::Unknown)?;
        let (issued, expires) = (session.issued_at, session.expires_at);
        let soon = now.saturating_add(SKEW).unwrap_or(now);
        if issued > soon {
            return Err(SessionError::NotYet);
        }
        // Whatever it says of its end: no longer than this after the request.
        let latest = issued.saturating_add(LIFETIME_MAX).unwrap_or(issued);
        if now > expires.min(latest) {
            return Err(SessionError::Expired);
        }
        Ok(session)
    }

    fn read_signed(token: &str, keys: &SessionKeys) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let head: Head = decode(head)?;
        if head.alg != ALGORITHM || head.typ != TYPE {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = keys.keys.iter().find(|key| key.kid == head.kid)?;
        UnparsedPublicKey::new(&ED25519, &key.public)
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let claims: Claims = decode(claims)?;
        if claims.iss != ISSUER {
            return None;
        }
        Some(Self {
            id: claims.jti,
            project: claims.project.parse().ok()?,
            actor: Actor {
                id: claims.sub,
                kind: claims.actor_kind,
            },
            function: claims.function.parse().ok()?,
            delivery: claims.delivery.parse().ok()?,
            event: claims.event.parse().ok()?,
            lineage: Lineage {
                depth: claims.depth,
                ancestry: claims.ancestry,
            },
            issued_at: whole_second(claims.iat)?,
            expires_at: whole_second(claims.exp)?,
        })
    }
}

/// Whether a text in place of an API key is meant to be a session: a JSON Web Token, in force or not.
pub fn is_like_session(token: &str) -> bool {
    token.starts_with("eyJ") && token.bytes().filter(|byte| *byte == b'.').count() == 2
}

fn whole_second(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

fn encode(part: &impl Serialize) -> Result<String, SignatureError> {
    let json = serde_json::to_vec(part).map_err(|_texts_are_json| SignatureError::Mismatch)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests;
