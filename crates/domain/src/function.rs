//! A function: a URL on somebody's own system, the secrets shared with it, and how it is called.

mod direct;
pub mod limits;
mod rotation;
mod settings;

use jiff::Timestamp;
use url::Url;

pub use self::direct::{AnswerShape, Handler, PARAMETERS_SCHEMA_BYTES_MAX};
pub use self::rotation::{FreshSecrets, OVERLAP_DEFAULT, OVERLAP_MAX, RotationOpen};
pub use self::settings::{
    Authorization, Batching, ClientCertificate, Credentials, Disabled, FunctionSettings, RateLimit,
    RotatingSecret, Signing, TokenAlgorithm,
};
use crate::format::Format;
use crate::name::{FunctionName, ProjectName};

/// Longest URL that is accepted, in bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// A function as configured.
#[derive(Clone, PartialEq)]
pub struct Function {
    pub project: ProjectName,
    pub name: FunctionName,
    pub url: Url,
    /// Shape of the request's body, unless a trigger asks for another.
    pub format: Format,
    /// Sent as `_secret` in schmuckli's format; generated when the function is created.
    pub secret: String,
    /// Key of the Standard Webhooks signature, `whsec_` and base 64 of 32 bytes.
    pub signing_secret: String,
    pub settings: FunctionSettings,
    pub credentials: Credentials,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The registry's revision that last changed this function.
    pub revision: u64,
}

impl Function {
    /// How its `X-SC-Token` is signed: as was asked for; in Space Cloud's format, where every webhook
    /// has one, with the project's secret; else there is none.
    pub fn token(&self) -> Option<TokenAlgorithm> {
        let usual = (self.format == Format::SpaceCloud).then_some(TokenAlgorithm::Hs256);
        self.settings.token.or(usual)
    }

    /// As it may be known to a service that never calls it: which one it is and where it stands.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        Self {
            secret: String::new(),
            signing_secret: String::new(),
            settings: FunctionSettings::default(),
            credentials: Credentials::default(),
            ..self.clone()
        }
    }
}

/// Secrets are left out.
impl std::fmt::Debug for Function {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Function")
            .field("project", &self.project)
            .field("name", &self.name)
            .field("url", &self.url.as_str())
            .field("format", &self.format)
            .field("settings", &self.settings)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// Why a URL cannot be a function's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("is not a URL: {0}")]
    NotAUrl(url::ParseError),
    #[error("has the scheme {0:?}: only http and https are called")]
    Scheme(String),
    #[error("names no host")]
    NoHost,
    #[error("carries a user or password: secrets belong in the function's settings")]
    Credentials,
    #[error("has a fragment, which is never sent")]
    Fragment,
    #[error("is {0} bytes long: at most {URL_BYTES_MAX}")]
    TooLong(usize),
}

/// Parses and checks a function's URL.
///
/// # Errors
/// Says what about it cannot be called.
pub fn parse_url(text: &str) -> Result<Url, UrlError> {
    if text.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong(text.len()));
    }
    let url = Url::parse(text).map_err(UrlError::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Scheme(url.scheme().to_owned()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(UrlError::NoHost);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    Ok(url)
}

/// Scheme, host and port: what functions must share to share one endpoint's limits.
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_called_is_refused_with_the_reason() {
        let check = |text: &str| parse_url(text).map(|url| url.to_string());
        assert_eq!(
            check("http://localhost:9000/hook").unwrap(),
            "http://localhost:9000/hook"
        );
        assert_eq!(
            check("https://example.com").unwrap(),
            "https://example.com/"
        );
        assert_eq!(
            check("ftp://example.com"),
            Err(UrlError::Scheme("ftp".to_owned()))
        );
        assert_eq!(
            check("http://user:pw@example.com"),
            Err(UrlError::Credentials)
        );
        assert_eq!(check("https://example.com/#part"), Err(UrlError::Fragment));
        assert!(matches!(
            check("example.com/hook"),
            Err(UrlError::NotAUrl(_))
        ));
        assert!(matches!(
            check(&format!("http://a/{}", "x".repeat(3000))),
            Err(UrlError::TooLong(_))
        ));
    }

    #[test]
    fn functions_on_one_host_and_port_share_an_origin() {
        let origin_of = |text: &str| origin(&parse_url(text).unwrap());
        assert_eq!(
            origin_of("https://example.com/a"),
            origin_of("https://example.com:443/b?c")
        );
        assert_ne!(
            origin_of("https://example.com/a"),
            origin_of("http://example.com/a")
        );
    }
}
