//! Credentials of functions: taken from people and carried to workers, shown to nobody.

use std::fmt;

use domain::function::{Authorization, ClientCertificate, Credentials, RotatingSecret};
use prost::Message as _;

use crate::event::{ConvertError, invalid};
use crate::fault::Fault;
use crate::functions::v1 as functions;
use crate::functions::v1::authorization::Kind;
use crate::projects::v1 as projects;
use crate::sessions::v1 as sessions;
use crate::settings::{undecodable, unreadable, url};
use crate::time::{from_micros, to_micros};
use crate::wire::v1 as wire;

/// What may be told of them.
impl From<&Credentials> for functions::CredentialKinds {
    fn from(credentials: &Credentials) -> Self {
        Self {
            authorization: credentials.authorization.kind().to_owned(),
            client_certificate: credentials.client_certificate.is_some(),
            rotating: u32::try_from(credentials.rotating.len()).unwrap_or(u32::MAX),
        }
    }
}

/// What goes into the `Authorization` header. Whether it is within its limits is for
/// [`Credentials::check`] to say.
///
/// # Errors
/// Names the field that cannot be understood.
pub fn authorization(
    authorization: Option<&functions::Authorization>,
) -> Result<Authorization, Fault> {
    let kind = authorization.and_then(|authorization| authorization.kind.as_ref());
    Ok(match kind {
        None => Authorization::None,
        Some(Kind::Basic(basic)) => Authorization::Basic {
            user: basic.user.clone(),
            password: basic.password.clone(),
        },
        Some(Kind::Bearer(bearer)) => Authorization::Bearer {
            token: bearer.token.clone(),
        },
        Some(Kind::Oauth2(oauth2)) => {
            let field = "credentials.authorization.oauth2.token_url";
            let token_url = url(field, &oauth2.token_url)?;
            Authorization::OAuth2 {
                token_url: token_url.ok_or_else(|| Fault::missing(field, "an https URL"))?,
                client_id: oauth2.client_id.clone(),
                client_secret: oauth2.client_secret.clone(),
                scope: oauth2.scope.clone(),
            }
        }
    })
}

/// The certificate that is shown to the endpoint; none when both parts are empty.
pub fn client_certificate(
    certificate: Option<&functions::ClientCertificate>,
) -> Option<ClientCertificate> {
    let given = certificate.filter(|given| !given.chain.is_empty() || !given.key.is_empty())?;
    Some(ClientCertificate {
        chain_pem: given.chain.clone(),
        key_pem: given.key.clone(),
    })
}

impl From<&Credentials> for wire::RegistryCredentials {
    fn from(credentials: &Credentials) -> Self {
        let kind = match &credentials.authorization {
            Authorization::None => None,
            Authorization::Basic { user, password } => Some(Kind::Basic(functions::Basic {
                user: user.clone(),
                password: password.clone(),
            })),
            Authorization::Bearer { token } => Some(Kind::Bearer(functions::Bearer {
                token: token.clone(),
            })),
            Authorization::OAuth2 {
                token_url,
                client_id,
                client_secret,
                scope,
            } => Some(Kind::Oauth2(functions::OAuth2 {
                token_url: token_url.to_string(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                scope: scope.clone(),
            })),
        };
        let certificate = credentials.client_certificate.as_ref();
        Self {
            given: Some(functions::Credentials {
                authorization: Some(functions::Authorization { kind }),
                client_certificate: certificate.map(|certificate| functions::ClientCertificate {
                    chain: certificate.chain_pem.clone(),
                    key: certificate.key_pem.clone(),
                }),
            }),
            rotating: credentials
                .rotating
                .iter()
                .map(|rotating| wire::RotatingSecret {
                    signing_secret: rotating.signing_secret.clone(),
                    expires_at_us: to_micros(rotating.expires_at),
                    secret: rotating.secret.clone(),
                    signing_key: rotating.signing_key.clone(),
                })
                .collect(),
            signing_key: credentials.signing_key.clone(),
        }
    }
}

impl TryFrom<wire::RegistryCredentials> for Credentials {
    type Error = ConvertError;

    fn try_from(credentials: wire::RegistryCredentials) -> Result<Self, ConvertError> {
        let given = credentials.given.unwrap_or_default();
        let rotating = credentials.rotating.into_iter();
        Ok(Self {
            authorization: authorization(given.authorization.as_ref()).map_err(unreadable)?,
            client_certificate: client_certificate(given.client_certificate.as_ref()),
            signing_key: credentials.signing_key,
            rotating: rotating
                .map(|rotating| RotatingSecret {
                    secret: rotating.secret,
                    signing_secret: rotating.signing_secret,
                    signing_key: rotating.signing_key,
                    expires_at: from_micros(rotating.expires_at_us),
                })
                .collect(),
        })
    }
}

/// Credentials as they are kept, once sealed; nothing where there are none.
pub fn credentials_to_bytes(credentials: &Credentials) -> Vec<u8> {
    if *credentials == Credentials::default() {
        return Vec::new();
    }
    wire::RegistryCredentials::from(credentials).encode_to_vec()
}

/// Reads [`credentials_to_bytes`].
///
/// # Errors
/// When the bytes are something else. They are not repeated.
pub fn credentials_from_bytes(bytes: &[u8]) -> Result<Credentials, ConvertError> {
    let message = wire::RegistryCredentials::decode(bytes).map_err(undecodable)?;
    Credentials::try_from(message)
        .map_err(|_names_a_value| invalid("credentials", "not understood"))
}

/// Messages that hold secrets say only what they are: they pass through code that may log them.
macro_rules! shown_by_name {
    ($($message:ty),+) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($message), " { … }"))
            }
        }
    )+};
}

shown_by_name!(
    functions::Basic,
    functions::Bearer,
    functions::OAuth2,
    functions::ClientCertificate,
    wire::RegistryFunction,
    wire::RotatingSecret,
    wire::TokenKey,
    functions::RotateSecretResponse,
    projects::RotateProjectSecretResponse,
    sessions::IntrospectSessionRequest
);
