//! What signs the tokens of requests, between `domain`, the registry's stream and the rows it is kept in.

use domain::token::{TokenKey, TokenKeys};
use prost::Message as _;

use crate::event::{ConvertError, invalid, parse};
use crate::settings::undecodable;
use crate::time::{from_micros, to_micros};
use crate::wire::v1 as wire;

impl From<&TokenKeys> for wire::RegistryTokenKeys {
    fn from(keys: &TokenKeys) -> Self {
        Self {
            project: keys
                .project
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            keys: keys
                .keys
                .iter()
                .map(|key| wire::TokenKey {
                    kid: key.kid.clone(),
                    secret: key.secret.clone(),
                    signs_from_us: to_micros(key.signs_from),
                })
                .collect(),
            revision: keys.revision,
        }
    }
}

impl TryFrom<wire::RegistryTokenKeys> for TokenKeys {
    type Error = ConvertError;

    fn try_from(keys: wire::RegistryTokenKeys) -> Result<Self, ConvertError> {
        Ok(Self {
            project: match keys.project.as_str() {
                "" => None,
                project => Some(parse("token_keys.project", project)?),
            },
            keys: keys
                .keys
                .into_iter()
                .map(|key| TokenKey {
                    kid: key.kid,
                    secret: key.secret,
                    signs_from: from_micros(key.signs_from_us),
                })
                .collect(),
            revision: keys.revision,
        })
    }
}

/// Keys as they are kept, once sealed.
pub fn token_keys_to_bytes(keys: &TokenKeys) -> Vec<u8> {
    wire::RegistryTokenKeys::from(keys).encode_to_vec()
}

/// Reads [`token_keys_to_bytes`].
///
/// # Errors
/// When the bytes are something else. They are not repeated.
pub fn token_keys_from_bytes(bytes: &[u8]) -> Result<TokenKeys, ConvertError> {
    let message = wire::RegistryTokenKeys::decode(bytes).map_err(undecodable)?;
    TokenKeys::try_from(message).map_err(|_names_a_value| invalid("token_keys", "not understood"))
}
