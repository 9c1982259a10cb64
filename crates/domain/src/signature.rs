//! Standard Webhooks signatures: how a receiver knows that a request is ours.

pub mod ed25519;
mod of_function;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

pub use self::of_function::sign_for;

/// What the text form of every signing secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// Fewer bytes of key than this are guessable by the standard's measure.
const SECRET_BYTES_MIN: usize = 24;

/// The standard allows no longer keys; beyond the hash's block they add nothing.
const SECRET_BYTES_MAX: usize = 64;

const VERSION: &str = "v1";

/// Why something cannot be signed, or a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the signing secret does not begin with {SECRET_PREFIX}")]
    SecretPrefix,
    #[error("the signing secret is not base 64")]
    SecretEncoding,
    #[error(
        "the signing secret has {0} bytes: {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} are allowed"
    )]
    SecretLength(usize),
    #[error("the message id is empty or contains a dot, which separates what is signed")]
    MessageId,
    #[error(
        "the ed25519 key is not {} and base 64 of 32 or 64 bytes",
        ed25519::PRIVATE_KEY_PREFIX
    )]
    PrivateKey,
    #[error("the public key is not {} and base 64", ed25519::PUBLIC_KEY_PREFIX)]
    PublicKey,
    #[error("the function has no ed25519 key: rotate its secrets")]
    NoKey,
    #[error("no signature of the message matches")]
    Mismatch,
}

/// Writes a fresh secret the way both sides keep it.
pub fn encode_secret(key: &[u8; 32]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(key))
}

/// Signs one request: the value of its `webhook-signature` header.
///
/// `timestamp_s` is the value of `webhook-timestamp`, Unix time in seconds; `body` are the exact
/// bytes that are sent.
///
/// # Errors
/// Says what is wrong with the secret or the id; the secret itself is never repeated.
pub fn sign(
    signing_secret: &str,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> Result<String, SignatureError> {
    let mac = message_mac(signing_secret, id, timestamp_s, body)?;
    Ok(format!(
        "{VERSION},{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

/// Checks a `webhook-signature` header: one of its space-separated signatures has to match.
///
/// How old `timestamp_s` may be is for the receiver to decide; five minutes are usual.
///
/// # Errors
/// [`SignatureError::Mismatch`] when none matches; otherwise what is wrong with secret or id.
pub fn verify(
    signing_secret: &str,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
    signatures: &str,
) -> Result<(), SignatureError> {
    let mac = message_mac(signing_secret, id, timestamp_s, body)?;
    let expected = STANDARD.encode(mac.finalize().into_bytes());
    let matches = signatures
        .split(' ')
        .filter_map(|signature| signature.split_once(','))
        .filter(|(version, _)| *version == VERSION)
        .any(|(_, offered)| bool::from(offered.as_bytes().ct_eq(expected.as_bytes())));
    if matches {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

fn message_mac(
    signing_secret: &str,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> Result<Hmac<Sha256>, SignatureError> {
    check_id(id)?;
    let key = decode_secret(signing_secret)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)
        .map_err(|_any_length_is_a_key| SignatureError::SecretLength(key.len()))?;
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    Ok(mac)
}

/// With a dot in the id, one signature would fit two different messages.
fn check_id(id: &str) -> Result<(), SignatureError> {
    if id.is_empty() || id.contains('.') {
        return Err(SignatureError::MessageId);
    }
    Ok(())
}

fn decode_secret(signing_secret: &str) -> Result<Vec<u8>, SignatureError> {
    let encoded = signing_secret
        .strip_prefix(SECRET_PREFIX)
        .ok_or(SignatureError::SecretPrefix)?;
    // The cause would name an offset and a symbol of the secret.
    let key = STANDARD
        .decode(encoded)
        .map_err(|_cause| SignatureError::SecretEncoding)?;
    if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&key.len()) {
        Ok(key)
    } else {
        Err(SignatureError::SecretLength(key.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP_S: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn r9_signs_as_the_published_example_does() {
        assert_eq!(sign(SECRET, ID, TIMESTAMP_S, BODY).unwrap(), SIGNATURE);
        assert_eq!(verify(SECRET, ID, TIMESTAMP_S, BODY, SIGNATURE), Ok(()));
    }

    #[test]
    fn r9_one_matching_signature_of_several_is_enough() {
        let rotated = format!("v1,AAAA v1a,{SIGNATURE} {SIGNATURE}");
        assert_eq!(verify(SECRET, ID, TIMESTAMP_S, BODY, &rotated), Ok(()));
    }

    #[test]
    fn r9_whatever_is_changed_breaks_the_signature() {
        let check = |id: &str, timestamp_s, body: &[u8], signature: &str| {
            verify(SECRET, id, timestamp_s, body, signature)
        };
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(check("msg_other", TIMESTAMP_S, BODY, SIGNATURE), mismatch);
        assert_eq!(check(ID, TIMESTAMP_S + 1, BODY, SIGNATURE), mismatch);
        assert_eq!(check(ID, TIMESTAMP_S, b"{}", SIGNATURE), mismatch);
        assert_eq!(
            check(ID, TIMESTAMP_S, BODY, &SIGNATURE.replace("v1,", "v1a,")),
            mismatch
        );
        assert_eq!(check(ID, TIMESTAMP_S, BODY, ""), mismatch);
        let other = encode_secret(&[7; 32]);
        assert_eq!(verify(&other, ID, TIMESTAMP_S, BODY, SIGNATURE), mismatch);
    }

    #[test]
    fn a_fresh_secret_signs_and_verifies() {
        let secret = encode_secret(&[9; 32]);
        assert!(secret.starts_with("whsec_"));
        let signature = sign(&secret, "dlv_1", 0, b"").unwrap();
        assert_eq!(verify(&secret, "dlv_1", 0, b"", &signature), Ok(()));
    }

    #[test]
    fn r9_what_cannot_be_signed_is_refused_with_the_reason() {
        let check = |secret: &str, id: &str| sign(secret, id, 0, b"").unwrap_err();
        assert_eq!(check("MfKQ9r8G", ID), SignatureError::SecretPrefix);
        assert_eq!(
            check("whsec_not base 64", ID),
            SignatureError::SecretEncoding
        );
        assert_eq!(check("whsec_MfKQ9r8G", ID), SignatureError::SecretLength(6));
        assert_eq!(check(SECRET, "msg.1"), SignatureError::MessageId);
        assert_eq!(check(SECRET, ""), SignatureError::MessageId);
    }
}
