//! What a function's settings and credentials may be; a fault names the field, its value and what is allowed.

use std::time::Duration;

use super::{Authorization, Batching, Credentials, FunctionSettings, RateLimit};
use crate::format::Format;

/// A function may have so many headers of its own: more than any receiver asks for.
pub const HEADERS_MAX: usize = 32;

/// All of them together, names and values: a quarter of what servers commonly take as a head.
pub const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// Certificates and keys, each in PEM: a bundle of some thirty authorities.
pub const PEM_BYTES_MAX: usize = 64 * 1024;

/// Users, passwords, tokens and their like: fits in a head.
pub const CREDENTIAL_BYTES_MAX: usize = 4 * 1024;

const HEADER_NAME_BYTES_MAX: usize = 128;

/// Set by tripline itself, or by what carries the request.
const RESERVED: [&str; 20] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "accept-encoding",
    "expect",
    "traceparent",
    "x-delivery-id",
    "x-event-id",
    "x-attempt",
    "x-max-attempts",
    "x-function",
    "x-sc-token",
];

/// A header whose name holds one of these carries a secret, as likely as not.
const SECRET_WORDS: [&str; 9] = [
    "auth",
    "cookie",
    "credential",
    "key",
    "password",
    "secret",
    "session",
    "signature",
    "token",
];

const RESERVED_BEGINNINGS: [&str; 5] = ["proxy-", "webhook-", "ce-", "x-function-", "x-tripline-"];

/// Whether a header of this name is better shown nowhere.
pub fn suggests_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A setting outside what is allowed. The value of a secret is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value:?}: {message}; allowed: {allowed}")]
pub struct SettingsError {
    /// Path within the function, for example `settings.headers[2].name`.
    pub field: String,
    pub value: String,
    pub message: &'static str,
    pub allowed: &'static str,
}

pub(super) fn fault(
    field: impl Into<String>,
    value: impl ToString,
    message: &'static str,
    allowed: &'static str,
) -> SettingsError {
    SettingsError {
        field: field.into(),
        value: value.to_string(),
        message,
        allowed,
    }
}

impl FunctionSettings {
    /// Checks every limit.
    ///
    /// # Errors
    /// Names the first field that is outside its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        if let Some(concurrency) = self.concurrency_max
            && !(1..=10_000).contains(&concurrency)
        {
            return Err(fault(
                "settings.concurrency_max",
                concurrency,
                "is out of range",
                "1 to 10,000 requests at a time",
            ));
        }
        self.rate.as_ref().map_or(Ok(()), check_rate)?;
        self.check_direct()?;
        check_headers(&self.headers)?;
        self.batching
            .as_ref()
            .map_or(Ok(()), check_size_and_cutoff)?;
        let days = Duration::from_mins(1)..=Duration::from_hours(30 * 24);
        if let Some(after) = self.disable_after
            && !days.contains(&after)
        {
            return Err(fault(
                "settings.disable_after",
                format_args!("{} s", after.as_secs()),
                "is out of range",
                "1 min to 30 d",
            ));
        }
        if let Some(proxy) = &self.proxy
            && (proxy.scheme() != "http" || !matches!(proxy.path(), "" | "/"))
        {
            return Err(fault(
                "settings.proxy",
                proxy,
                "is not the address of an HTTP proxy",
                "http://HOST:PORT",
            ));
        }
        match &self.authorities {
            Some(pem) => check_pem("settings.authorities", pem, "CERTIFICATE-----"),
            None => Ok(()),
        }
    }
}

impl Credentials {
    /// Checks every limit.
    ///
    /// # Errors
    /// Names the first field that is outside its range, without its value.
    pub fn check(&self) -> Result<(), SettingsError> {
        match &self.authorization {
            Authorization::None => {}
            Authorization::Basic { user, password } => {
                if user.contains(':') {
                    let field = "credentials.authorization.basic.user";
                    let message = "holds a colon, which ends the user's name";
                    return Err(fault(field, user, message, "text without ':'"));
                }
                check_text("credentials.authorization.basic.user", user)?;
                check_text("credentials.authorization.basic.password", password)?;
            }
            Authorization::Bearer { token } => {
                let field = "credentials.authorization.bearer.token";
                check_text(field, token)?;
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    let allowed = "visible ASCII characters without spaces";
                    return Err(fault(field, "", "is not a token", allowed));
                }
            }
            Authorization::OAuth2 {
                token_url,
                client_id,
                client_secret,
                scope,
            } => {
                if token_url.scheme() != "https" && !is_loopback(token_url) {
                    return Err(fault(
                        "credentials.authorization.oauth2.token_url",
                        token_url,
                        "would carry the client's secret in clear",
                        "an https URL",
                    ));
                }
                if client_id.is_empty() {
                    let field = "credentials.authorization.oauth2.client_id";
                    return Err(fault(field, "", "is missing", "the client's id"));
                }
                check_text("credentials.authorization.oauth2.client_id", client_id)?;
                check_text(
                    "credentials.authorization.oauth2.client_secret",
                    client_secret,
                )?;
                check_text("credentials.authorization.oauth2.scope", scope)?;
            }
        }
        if let Some(certificate) = &self.client_certificate {
            let field = |part| format!("credentials.client_certificate.{part}");
            check_pem(&field("chain"), &certificate.chain_pem, "CERTIFICATE-----")?;
            check_pem(&field("key"), &certificate.key_pem, "PRIVATE KEY-----")?;
        }
        Ok(())
    }
}

/// For development: a token endpoint of this very machine.
fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Checks that the function's format can carry several deliveries, where it asks for that.
///
/// # Errors
/// Names the formats that can.
pub fn check_batching(settings: &FunctionSettings, format: Format) -> Result<(), SettingsError> {
    if settings.batching.is_none() || format.batch().is_some() {
        return Ok(());
    }
    Err(fault(
        "settings.batching",
        format.as_str(),
        "needs a format whose requests carry several deliveries",
        "the formats cloudevents-batch and yandex, or no batching",
    ))
}

fn check_rate(rate: &RateLimit) -> Result<(), SettingsError> {
    if !(0.001..=100_000.0).contains(&rate.per_second) {
        return Err(fault(
            "settings.rate.per_second",
            rate.per_second,
            "is out of range",
            "0.001 to 100,000 a second",
        ));
    }
    if !(1..=100_000).contains(&rate.burst) {
        let field = "settings.rate.burst";
        return Err(fault(
            field,
            rate.burst,
            "is out of range",
            "1 to 100,000 at once",
        ));
    }
    Ok(())
}

fn check_size_and_cutoff(batching: &Batching) -> Result<(), SettingsError> {
    if !(2..=1000).contains(&batching.size_max) {
        return Err(fault(
            "settings.batching.size_max",
            batching.size_max,
            "is out of range",
            "2 to 1,000 deliveries",
        ));
    }
    if !(Duration::from_millis(1)..=Duration::from_mins(1)).contains(&batching.cutoff) {
        return Err(fault(
            "settings.batching.cutoff",
            format_args!("{} ms", batching.cutoff.as_millis()),
            "is out of range",
            "1 ms to 60 s",
        ));
    }
    Ok(())
}

fn check_headers(headers: &[(String, String)]) -> Result<(), SettingsError> {
    if headers.len() > HEADERS_MAX {
        let field = "settings.headers";
        return Err(fault(
            field,
            headers.len(),
            "are too many",
            "at most 32 headers",
        ));
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > HEADERS_BYTES_MAX {
        let value = format_args!("{bytes} bytes");
        return Err(fault(
            "settings.headers",
            value,
            "are too large",
            "at most 8 KiB",
        ));
    }
    for (place, (name, value)) in headers.iter().enumerate() {
        let field = |part| format!("settings.headers[{place}].{part}");
        if name.is_empty() || name.len() > HEADER_NAME_BYTES_MAX || !name.bytes().all(is_token) {
            return Err(fault(
                field("name"),
                name,
                "is not the name of a header",
                "up to 128 lower-case letters, digits and any of !#$%&'*+-.^_`|~",
            ));
        }
        if is_reserved(name) {
            return Err(fault(
                field("name"),
                name,
                "is set by tripline itself or belongs to the connection",
                "any but host, content-*, connection, transfer-encoding, te, upgrade, keep-alive, \
                 proxy-*, webhook-*, ce-*, authorization (use the credentials) and its like",
            ));
        }
        if headers
            .iter()
            .take(place)
            .any(|(earlier, _)| earlier == name)
        {
            return Err(fault(
                field("name"),
                name,
                "is given twice",
                "each name once",
            ));
        }
        // Values are shown to whoever may read functions, so this one may be repeated here.
        let is_plain = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80;
        if !value.bytes().all(is_plain) || value.trim_matches([' ', '\t']) != value {
            return Err(fault(
                field("value"),
                value.escape_debug(),
                "is not the value of a header",
                "text without line breaks and control characters, and without blanks around it",
            ));
        }
    }
    Ok(())
}

/// RFC 9110's token, in lower case as HTTP/2 wants it.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_lowercase()
        || byte.is_ascii_digit()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Whether a function may not set this header, given in lower case.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
        || RESERVED_BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning))
}

/// The value stays out of the fault: it is secret.
fn check_text(field: &str, text: &str) -> Result<(), SettingsError> {
    if text.len() > CREDENTIAL_BYTES_MAX {
        return Err(fault(field, "", "is too long", "at most 4 KiB"));
    }
    if text.chars().any(char::is_control) {
        let allowed = "text without line breaks and control characters";
        return Err(fault(field, "", "holds a control character", allowed));
    }
    Ok(())
}

fn check_pem(field: &str, pem: &str, label: &str) -> Result<(), SettingsError> {
    if pem.len() > PEM_BYTES_MAX {
        let size = format!("{} bytes", pem.len());
        return Err(fault(field, size, "is too large", "at most 64 KiB of PEM"));
    }
    let is_labelled = |mark: &str| {
        pem.lines()
            .any(|line| line.starts_with(mark) && line.trim_end().ends_with(label))
    };
    if !is_labelled("-----BEGIN ") || !is_labelled("-----END ") {
        let message = "is not in PEM form";
        return Err(fault(
            field,
            "",
            message,
            "text with -----BEGIN …----- and -----END …-----",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
