//! The token with which a script calls the API that it was called for: short-lived, and good for
//! nothing else.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::name::ProjectName;

/// From the moment the script is called. As long as DreamFactory's.
pub const VALID_FOR: Duration = Duration::from_secs(300);

/// Tells such tokens from keys.
pub const PREFIX: &str = "tls_";

/// So that the same secret signs nothing else that looks alike.
const CONTEXT: &[u8] = b"tripline script token 1\0";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptCaller {
    pub project: ProjectName,
    /// How many events are behind a call that is made with the token.
    pub depth: u32,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScriptTokenError {
    #[error("the script's token is not one of ours")]
    Forged,
    #[error("the script's token has expired: it is valid for {} seconds", VALID_FOR.as_secs())]
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    project: String,
    depth: u32,
    exp: i64,
}

/// What signs the tokens: the same for all replicas of the gateway.
#[derive(Clone)]
pub struct ScriptTokenKey(Vec<u8>);

impl fmt::Debug for ScriptTokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ScriptTokenKey(…)")
    }
}

impl ScriptTokenKey {
    pub fn new(secret: &[u8]) -> Self {
        Self(secret.to_vec())
    }

    /// A token for scripts that are called now.
    pub fn mint(&self, caller: &ScriptCaller, now: Timestamp) -> String {
        let valid_for = i64::try_from(VALID_FOR.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            project: caller.project.to_string(),
            depth: caller.depth,
            exp: now.as_second().saturating_add(valid_for),
        };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&claims).finalize().into_bytes());
        format!("{PREFIX}{claims}.{signature}")
    }

    /// Who calls with the token.
    ///
    /// # Errors
    /// It was made by somebody else, or too long ago.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<ScriptCaller, ScriptTokenError> {
        let forged = ScriptTokenError::Forged;
        let (claims, signature) = token
            .strip_prefix(PREFIX)
            .and_then(|token| token.split_once('.'))
            .ok_or(forged)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok().ok_or(forged)?;
        let is_ours = self.mac(claims).verify_slice(&signature).is_ok();
        let claims = URL_SAFE_NO_PAD.decode(claims).ok().filter(|_| is_ours);
        let claims: Claims = claims
            .and_then(|claims| serde_json::from_slice(&claims).ok())
            .ok_or(forged)?;
        if now.as_second() >= claims.exp {
            return Err(ScriptTokenError::Expired);
        }
        Ok(ScriptCaller {
            project: claims.project.parse().ok().ok_or(forged)?,
            depth: claims.depth,
        })
    }

    fn mac(&self, claims: &str) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(CONTEXT);
        mac.update(claims.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> ScriptCaller {
        ScriptCaller {
            project: "acme".parse().unwrap(),
            depth: 3,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    #[test]
    fn s5_31_a_scripts_token_is_valid_for_300_seconds() {
        let key = ScriptTokenKey::new(b"between-us");
        let token = key.mint(&caller(), at(0));
        assert_eq!(key.check(&token, at(0)), Ok(caller()));
        assert_eq!(key.check(&token, at(299)), Ok(caller()));
        assert_eq!(key.check(&token, at(300)), Err(ScriptTokenError::Expired));
    }

    #[test]
    fn a_token_that_was_made_elsewhere_or_changed_is_not_taken() {
        let key = ScriptTokenKey::new(b"between-us");
        let token = key.mint(&caller(), at(0));
        let other = ScriptTokenKey::new(b"between-others").mint(&caller(), at(0));
        let changed = token.replacen("tls_ey", "tls_ez", 1);
        let cut = token.get(..token.len() - 1).unwrap();
        for wrong in [
            other.as_str(),
            &changed,
            cut,
            "tls_",
            "tls_a.b",
            "",
            "tlk_x",
        ] {
            assert_eq!(
                key.check(wrong, at(0)),
                Err(ScriptTokenError::Forged),
                "{wrong}"
            );
        }
    }
}
