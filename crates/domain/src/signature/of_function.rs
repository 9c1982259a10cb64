//! All signatures of one request: each kind that the function asks for, with each of its secrets.

use jiff::Timestamp;

use super::{SignatureError, ed25519, sign};
use crate::function::{Function, Signing};

/// The value of a request's `webhook-signature` header; `now` is its `webhook-timestamp`.
///
/// While secrets are rotated there is one signature more of each kind, by those from before, so
/// that a receiver may know either.
///
/// # Errors
/// Says what is wrong with a secret or the id; secrets are never repeated.
pub fn sign_for(
    function: &Function,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> Result<String, SignatureError> {
    let signing = function.settings.signing;
    let timestamp_s = now.as_second();
    if signing == Signing::Hmac && function.credentials.rotating.is_empty() {
        return sign(&function.signing_secret, id, timestamp_s, body);
    }
    let own = (
        function.signing_secret.as_str(),
        function.credentials.signing_key.as_str(),
    );
    let before = function.still_valid(now);
    let pairs = before.map(|before| (before.signing_secret.as_str(), before.signing_key.as_str()));
    let mut signatures = Vec::new();
    for (signing_secret, signing_key) in std::iter::once(own).chain(pairs) {
        if signing != Signing::Ed25519 {
            signatures.push(sign(signing_secret, id, timestamp_s, body)?);
        }
        // There was none before functions had such keys.
        if signing != Signing::Hmac && !signing_key.is_empty() {
            signatures.push(ed25519::sign(signing_key, id, timestamp_s, body)?);
        }
    }
    if signatures.is_empty() {
        return Err(SignatureError::NoKey);
    }
    Ok(signatures.join(" "))
}
