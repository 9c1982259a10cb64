//! Standard Webhooks signatures, version 1a: whoever checks them needs only a public key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{SignatureError, check_id};

/// What the text form of a private key begins with.
pub const PRIVATE_KEY_PREFIX: &str = "whsk_";

/// What the text form of a public key begins with.
pub const PUBLIC_KEY_PREFIX: &str = "whpk_";

pub(super) const VERSION: &str = "v1a";

/// Writes a private key as the reference libraries do: seed and public key, together 64 bytes.
///
/// # Errors
/// Never for 32 bytes, which are always a seed.
pub fn encode_private_key(seed: &[u8; 32]) -> Result<String, SignatureError> {
    let pair =
        Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_opaque| SignatureError::PrivateKey)?;
    let both = [seed.as_slice(), pair.public_key().as_ref()].concat();
    Ok(format!("{PRIVATE_KEY_PREFIX}{}", STANDARD.encode(both)))
}

/// The public key of a private one, `whpk_…`.
///
/// # Errors
/// When the text is not a private key.
pub fn public_key(private_key: &str) -> Result<String, SignatureError> {
    let bytes = public_key_bytes(private_key)?;
    Ok(format!("{PUBLIC_KEY_PREFIX}{}", STANDARD.encode(bytes)))
}

/// The 32 bytes of the public key of a private one.
///
/// # Errors
/// When the text is not a private key.
pub fn public_key_bytes(private_key: &str) -> Result<Vec<u8>, SignatureError> {
    Ok(key_pair(private_key)?.public_key().as_ref().to_vec())
}

/// Signs any bytes.
///
/// # Errors
/// When the text is not a private key.
pub fn sign_bytes(private_key: &str, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
    Ok(key_pair(private_key)?.sign(message).as_ref().to_vec())
}

/// Signs one request: a signature as in its `webhook-signature` header.
///
/// # Errors
/// Says what is wrong with the key or the id; the key itself is never repeated.
pub fn sign(
    private_key: &str,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> Result<String, SignatureError> {
    let signature = sign_bytes(private_key, &message(id, timestamp_s, body)?)?;
    Ok(format!("{VERSION},{}", STANDARD.encode(signature)))
}

/// Checks a `webhook-signature` header: one of its space-separated signatures has to be by the
/// owner of this public key.
///
/// # Errors
/// [`SignatureError::Mismatch`] when none is; otherwise what is wrong with key or id.
pub fn verify(
    public_key: &str,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
    signatures: &str,
) -> Result<(), SignatureError> {
    let encoded = public_key
        .strip_prefix(PUBLIC_KEY_PREFIX)
        .ok_or(SignatureError::PublicKey)?;
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_cause| SignatureError::PublicKey)?;
    let key = UnparsedPublicKey::new(&ED25519, bytes);
    let message = message(id, timestamp_s, body)?;
    let is_signed = signatures
        .split(' ')
        .filter_map(|signature| signature.split_once(','))
        .filter(|(version, _)| *version == VERSION)
        .filter_map(|(_, offered)| STANDARD.decode(offered).ok())
        .any(|offered| key.verify(&message, &offered).is_ok());
    if is_signed {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

fn message(id: &str, timestamp_s: i64, body: &[u8]) -> Result<Vec<u8>, SignatureError> {
    check_id(id)?;
    let mut message = format!("{id}.{timestamp_s}.").into_bytes();
    message.extend_from_slice(body);
    Ok(message)
}

fn key_pair(private_key: &str) -> Result<Ed25519KeyPair, SignatureError> {
    let encoded = private_key
        .strip_prefix(PRIVATE_KEY_PREFIX)
        .ok_or(SignatureError::PrivateKey)?;
    // The cause would name an offset and a symbol of the key.
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_cause| SignatureError::PrivateKey)?;
    let pair = match bytes.split_at_checked(32) {
        Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
        Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        None => return Err(SignatureError::PrivateKey),
    };
    pair.map_err(|_opaque| SignatureError::PrivateKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8032, 7.1, test 1.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn r9_signs_as_the_published_vector_does() {
        let key = encode_private_key(&SEED).unwrap();
        assert_eq!(public_key(&key).unwrap(), PUBLIC);
        let signature = sign_bytes(&key, b"").unwrap();
        let expected = "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==";
        assert_eq!(STANDARD.encode(signature), expected);
    }

    #[test]
    fn r9_whatever_is_changed_breaks_the_signature() {
        let key = encode_private_key(&SEED).unwrap();
        let signed = sign(&key, "dlv_1", 100, b"body").unwrap();
        assert!(signed.starts_with("v1a,"));
        let check = |id, timestamp_s, body: &[u8], signed: &str| {
            verify(PUBLIC, id, timestamp_s, body, signed)
        };
        assert_eq!(check("dlv_1", 100, b"body", &signed), Ok(()));
        let among = format!("v1,AAAA v1a,AAAA {signed}");
        assert_eq!(check("dlv_1", 100, b"body", &among), Ok(()));
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(check("dlv_2", 100, b"body", &signed), mismatch);
        assert_eq!(check("dlv_1", 101, b"body", &signed), mismatch);
        assert_eq!(check("dlv_1", 100, b"Body", &signed), mismatch);
        let as_v1 = signed.replace("v1a,", "v1,");
        assert_eq!(check("dlv_1", 100, b"body", &as_v1), mismatch);
        let other = public_key(&encode_private_key(&[1; 32]).unwrap()).unwrap();
        assert_eq!(verify(&other, "dlv_1", 100, b"body", &signed), mismatch);
    }

    #[test]
    fn r9_what_cannot_be_signed_is_refused_with_the_reason() {
        let key = encode_private_key(&SEED).unwrap();
        assert_eq!(
            sign(&key, "dlv.1", 0, b"").unwrap_err(),
            SignatureError::MessageId
        );
        let seed_only = format!("whsk_{}", STANDARD.encode(SEED));
        assert_eq!(public_key(&seed_only).unwrap(), PUBLIC);
        for text in ["", "whsk_", "whsk_AAAA", "whsec_AAAA", PUBLIC] {
            let error = sign(text, "dlv_1", 0, b"").unwrap_err();
            assert_eq!(error, SignatureError::PrivateKey, "{text:?}");
        }
    }
}
