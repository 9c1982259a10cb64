//! The token a request carries as `X-SC-Token`: who calls, whom, for what, with which body.
//!
//! A JSON Web Token (RFC 7519), signed with the project's secret (HS256) or with the system's
//! ed25519 key (`EdDSA`), whose public half everybody may have. Written by hand, since making one is
//! little and reading other people's, where the mistakes are made, is not done here.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::function::TokenAlgorithm;
use crate::name::ProjectName;
use crate::signature::{SignatureError, ed25519};

/// Who signs, as the token says it.
pub const ISSUER: &str = "tripline";

/// Space Cloud's functions look for this word.
const ROLE: &str = "SpaceCloud";

/// Longer than any request may take, far below the half hour that is allowed.
const LIFETIME_S: i64 = 600;

/// Clocks differ: a token is valid this long before it was made.
const SKEW_S: i64 = 60;

/// Keys of one owner: one that signs, and while it is rotated another one.
const KEYS_MAX: usize = 2;

/// The keys that sign a project's tokens with HS256, or, without a project, the system's own for
/// `EdDSA`. Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKeys {
    pub project: Option<ProjectName>,
    /// In order of `signs_from`.
    pub keys: Vec<TokenKey>,
    /// The registry's revision that last changed them.
    pub revision: u64,
}

/// One of them. Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// Names the key in the head of a token.
    pub kid: String,
    /// The HMAC key as it is shown to its owner, or an ed25519 key, `whsk_…`.
    pub secret: String,
    /// From then on it signs, and those before it no more.
    pub signs_from: Timestamp,
}

/// Secrets are left out.
impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenKey")
            .field("kid", &self.kid)
            .field("signs_from", &self.signs_from)
            .finish_non_exhaustive()
    }
}

/// Another key is waiting for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another secret signs from {from} on: promote it first")]
pub struct KeyWaiting {
    pub from: Timestamp,
}

impl TokenKeys {
    /// The key that signs now.
    pub fn signing(&self, now: Timestamp) -> Option<&TokenKey> {
        self.keys.iter().rev().find(|key| key.signs_from <= now)
    }

    /// Adds a key that signs later; the one that signs until then is kept, older ones are not.
    ///
    /// # Errors
    /// Another one is waiting already.
    pub fn rotate(&mut self, fresh: TokenKey, now: Timestamp) -> Result<(), KeyWaiting> {
        if let Some(waiting) = self.keys.iter().find(|key| now < key.signs_from) {
            return Err(KeyWaiting {
                from: waiting.signs_from,
            });
        }
        let surplus = (self.keys.len() + 1).saturating_sub(KEYS_MAX);
        self.keys.drain(..surplus.min(self.keys.len()));
        self.keys.push(fresh);
        Ok(())
    }

    /// Until when the oldest key may not be dropped, so that what it signed last stays readable for its
    /// `lifetime`; `None` while nothing would be dropped by another rotation.
    pub fn needed_until(&self, lifetime: Duration) -> Option<Timestamp> {
        let newest = self.keys.last().filter(|_| self.keys.len() >= KEYS_MAX)?;
        newest.signs_from.saturating_add(lifetime).ok()
    }

    /// The newest key signs from now on. Whether it did not before.
    pub fn promote(&mut self, now: Timestamp) -> bool {
        let Some(newest) = self.keys.last_mut().filter(|key| now < key.signs_from) else {
            return false;
        };
        newest.signs_from = now;
        true
    }
}

/// What a token says.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// The worker that calls.
    pub node: &'a str,
    /// Origin of the function's URL.
    pub audience: &'a str,
    pub project: &'a ProjectName,
    pub delivery: &'a str,
    pub body: &'a [u8],
    /// Never given twice.
    pub id: &'a str,
    pub now: Timestamp,
}

#[derive(Serialize)]
struct Head<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Payload<'a> {
    id: &'a str,
    role: &'a str,
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: &'a str,
    project: &'a str,
    delivery: &'a str,
    /// Hexadecimal.
    body_sha256: String,
}

/// Makes a token.
///
/// # Errors
/// When the key is none of the algorithm's.
pub fn sign(
    key: &TokenKey,
    algorithm: TokenAlgorithm,
    claims: &Claims<'_>,
) -> Result<String, SignatureError> {
    let now = claims.now.as_second();
    let head = Head {
        alg: match algorithm {
            TokenAlgorithm::Hs256 => "HS256",
            TokenAlgorithm::EdDsa => "EdDSA",
        },
        typ: "JWT",
        kid: &key.kid,
    };
    let payload = Payload {
        id: claims.node,
        role: ROLE,
        iss: ISSUER,
        aud: claims.audience,
        iat: now,
        nbf: now - SKEW_S,
        exp: now + LIFETIME_S,
        jti: claims.id,
        project: claims.project.as_str(),
        delivery: claims.delivery,
        body_sha256: hex(&Sha256::digest(claims.body)),
    };
    let mut token = encode(&head)?;
    token.push('.');
    token.push_str(&encode(&payload)?);
    let signature = match algorithm {
        TokenAlgorithm::Hs256 => {
            let mut mac = Hmac::<Sha256>::new_from_slice(key.secret.as_bytes())
                .map_err(|_any_length_is_a_key| SignatureError::SecretLength(key.secret.len()))?;
            mac.update(token.as_bytes());
            mac.finalize().into_bytes().to_vec()
        }
        TokenAlgorithm::EdDsa => ed25519::sign_bytes(&key.secret, token.as_bytes())?,
    };
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(token)
}

/// The public halves of ed25519 keys as a JSON Web Key Set (RFC 7517, RFC 8037). A key is shown
/// before it signs, and after it, for as long as it is kept.
///
/// # Errors
/// When one of them is no such key.
pub fn public_keys(keys: &TokenKeys) -> Result<serde_json::Value, SignatureError> {
    let shown = keys.keys.iter().map(|key| {
        let public = ed25519::public_key_bytes(&key.secret)?;
        Ok(serde_json::json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": "EdDSA",
            "kid": key.kid,
            "x": URL_SAFE_NO_PAD.encode(public),
        }))
    });
    let shown = shown.collect::<Result<Vec<_>, _>>()?;
    Ok(serde_json::json!({ "keys": shown }))
}

fn encode(part: &impl Serialize) -> Result<String, SignatureError> {
    let json = serde_json::to_vec(part).map_err(|_texts_are_json| SignatureError::Mismatch)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str, secret: &str, from_s: i64) -> TokenKey {
        TokenKey {
            kid: kid.to_owned(),
            secret: secret.to_owned(),
            signs_from: at(from_s),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claims(project: &ProjectName) -> Claims<'_> {
        Claims {
            node: "worker-1",
            audience: "https://example.com",
            project,
            delivery: "dlv_1",
            body: b"{}",
            id: "t1",
            now: at(1000),
        }
    }

    fn part(token: &str, place: usize) -> serde_json::Value {
        let part = token.split('.').nth(place).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn s2_22_s2_23_a_token_says_who_calls_whom_with_which_body() {
        let project = "acme".parse().unwrap();
        let token = sign(
            &key("k1", "secret", 0),
            TokenAlgorithm::Hs256,
            &claims(&project),
        )
        .unwrap();
        assert_eq!(
            part(&token, 0),
            serde_json::json!({"alg": "HS256", "typ": "JWT", "kid": "k1"})
        );
        assert_eq!(
            part(&token, 1),
            serde_json::json!({
                "id": "worker-1", "role": "SpaceCloud", "iss": "tripline",
                "aud": "https://example.com", "iat": 1000, "nbf": 940, "exp": 1600, "jti": "t1",
                "project": "acme", "delivery": "dlv_1",
                "body_sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            })
        );
    }

    #[test]
    fn the_public_keys_are_those_of_the_private_ones() {
        let private = ed25519::encode_private_key(&[7; 32]).unwrap();
        let keys = TokenKeys {
            project: None,
            keys: vec![key("k1", &private, 0)],
            revision: 1,
        };
        let shown = public_keys(&keys).unwrap();
        assert_eq!(shown["keys"][0]["kid"], "k1");
        let x = shown["keys"][0]["x"].as_str().unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.decode(x).unwrap(),
            ed25519::public_key_bytes(&private).unwrap()
        );
        assert!(!shown.to_string().contains(&private));
    }

    #[test]
    fn a_new_key_signs_from_its_time_on_or_when_it_is_promoted() {
        let mut keys = TokenKeys {
            project: Some("acme".parse().unwrap()),
            keys: vec![key("k1", "one", 0)],
            revision: 1,
        };
        assert_eq!(keys.needed_until(Duration::MAX), None, "it is the only one");
        let signing = |keys: &TokenKeys, second| keys.signing(at(second)).unwrap().kid.clone();
        keys.rotate(key("k2", "two", 200), at(100)).unwrap();
        assert_eq!(signing(&keys, 199), "k1");
        assert_eq!(signing(&keys, 200), "k2");
        let waiting = keys.rotate(key("k3", "three", 300), at(150)).unwrap_err();
        assert_eq!(waiting.from, at(200));
        assert!(keys.promote(at(160)));
        assert_eq!(signing(&keys, 160), "k2");
        assert!(!keys.promote(at(170)), "it signs already");
        let hour = Duration::from_secs(3600);
        assert_eq!(keys.needed_until(hour), Some(at(160 + 3600)));
        keys.rotate(key("k3", "three", 300), at(250)).unwrap();
        assert_eq!(keys.keys.len(), 2, "the oldest is gone");
        assert_eq!(signing(&keys, 250), "k2");
    }
}
