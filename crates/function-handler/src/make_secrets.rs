//! Makes what only its owner may know: keys, and the secrets of functions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::access::{ApiKey, KeyHash, Scope};
use domain::function::FreshSecrets;
use domain::name::ProjectName;
use domain::token::TokenKey;
use jiff::Timestamp;
use protocol::fault::{Fault, FaultKind};
use tracing::error;

/// What every key begins with, so that it is recognised where it should not be.
const KEY_PREFIX: &str = "tlk_";

/// Letters and digits that nobody mistakes for one another; 32, so that each takes five bits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of the public part, 40 bits: enough to tell a project's keys apart, and all others.
const ID_BYTES: usize = 8;

/// A fresh key as it is shown once, and what is stored of it.
pub(crate) struct FreshKey {
    /// `tlk_ab12cd34_` and 43 characters of base 64.
    pub(crate) text: String,
    pub(crate) stored: ApiKey,
}

/// Makes a key of these scopes.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn make_key(
    project: &ProjectName,
    mut scopes: Vec<Scope>,
    note: String,
    now: Timestamp,
) -> Result<FreshKey, Fault> {
    let letters = random_bytes::<ID_BYTES>()?.map(|byte| {
        char::from(
            ALPHABET
                .get(usize::from(byte & 31))
                .copied()
                .unwrap_or(b'0'),
        )
    });
    let id: String = KEY_PREFIX.chars().chain(letters).collect();
    let text = format!("{id}_{}", make_secret()?);
    scopes.sort_unstable();
    scopes.dedup();
    let stored = ApiKey {
        id,
        project: project.clone(),
        hash: KeyHash::of(&text),
        scopes,
        note,
        created_at: now,
        revoked_at: None,
        revision: 0,
    };
    Ok(FreshKey { text, stored })
}

/// 256 random bits as 43 characters that survive in URLs, forms and JSON.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn make_secret() -> Result<String, Fault> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<32>()?))
}

/// A key for Standard Webhooks signatures, `whsec_…`.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn make_signing_secret() -> Result<String, Fault> {
    Ok(domain::signature::encode_secret(&random_bytes()?))
}

/// A key for ed25519 signatures, `whsk_…`.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn make_signing_key() -> Result<String, Fault> {
    domain::signature::ed25519::encode_private_key(&random_bytes()?).map_err(|cause| {
        error!(error = %cause, "no ed25519 key could be made");
        Fault::new(FaultKind::Internal, "no key could be made")
    })
}

/// All secrets of a function.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn make_function_secrets() -> Result<FreshSecrets, Fault> {
    Ok(FreshSecrets {
        secret: make_secret()?,
        signing_secret: make_signing_secret()?,
        signing_key: make_signing_key()?,
    })
}

/// A key for the tokens of a project, or without one of the system, that signs from then on.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn make_token_key(
    project: Option<&ProjectName>,
    signs_from: Timestamp,
) -> Result<TokenKey, Fault> {
    let secret = match project {
        Some(_) => make_secret()?,
        None => make_signing_key()?,
    };
    Ok(TokenKey {
        kid: URL_SAFE_NO_PAD.encode(random_bytes::<9>()?),
        secret,
        signs_from,
    })
}

fn random_bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], Fault> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|cause| {
        error!(error = %cause, "the system gave no random bytes");
        Fault::new(FaultKind::Internal, "no random bytes are to be had")
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_its_public_part_and_only_its_hash_is_stored() {
        let project = "default".parse().unwrap();
        let scopes = vec![Scope::Read, Scope::Emit, Scope::Read];
        let key = make_key(&project, scopes, String::new(), Timestamp::UNIX_EPOCH).unwrap();
        assert!(
            key.text.starts_with(&format!("{}_", key.stored.id)),
            "{}",
            key.text
        );
        assert_eq!(key.stored.id.len(), 12);
        assert_eq!(key.text.len(), 12 + 1 + 43);
        assert_eq!(key.stored.hash, KeyHash::of(&key.text));
        assert_eq!(key.stored.scopes, [Scope::Emit, Scope::Read]);
        assert_ne!(make_secret().unwrap(), make_secret().unwrap());
        assert!(make_signing_secret().unwrap().starts_with("whsec_"));
    }
}
