//! What a function asks for on its requests beyond the usual: headers, credentials, a token, a way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::delivery::{ErrorClass, Outcome};
use domain::function::limits::{is_reserved, suggests_a_secret};
use domain::function::{Authorization, Function, TokenAlgorithm, origin};
use domain::token::{self, Claims};
use http::{HeaderName, HeaderValue, Uri, header};
use uuid::Uuid;

use super::{Call, impossible};
use crate::outbound::endpoint_client::{Grant, Route, Special};

const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-sc-token");

type Headers = Vec<(HeaderName, HeaderValue)>;

/// Adds the headers that the function asks for, and says what else is special about it. `id` is
/// the request's own.
///
/// # Errors
/// The outcome of the attempt, when the request cannot be made.
pub(super) fn add(
    call: &Call<'_>,
    id: &str,
    body: &[u8],
    headers: &mut Headers,
) -> Result<Option<Box<Special>>, Outcome> {
    let function = call.function;
    if is_usual(function) {
        return Ok(None);
    }
    for (name, value) in &function.settings.headers {
        headers.push(own_header(name, value)?);
    }
    if let Some(algorithm) = function.token() {
        headers.push((TOKEN_HEADER, service_token(call, id, algorithm, body)?));
    }
    let credentials = &function.credentials;
    let mut grant = None;
    match &credentials.authorization {
        Authorization::None => {}
        Authorization::Basic { user, password } => {
            let pair = STANDARD.encode(format!("{user}:{password}"));
            headers.push((header::AUTHORIZATION, secret(&format!("Basic {pair}"))?));
        }
        Authorization::Bearer { token } => {
            headers.push((header::AUTHORIZATION, secret(&format!("Bearer {token}"))?));
        }
        Authorization::OAuth2 {
            token_url,
            client_id,
            client_secret,
            scope,
        } => {
            grant = Some(Grant {
                token_url: token_url.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                scope: scope.clone(),
            });
        }
    }
    let route = Route {
        authorities: function.settings.authorities.clone(),
        certificate: credentials.client_certificate.clone(),
        proxy: proxy(function)?,
    };
    let is_special = grant.is_some() || !route.is_usual();
    Ok(is_special.then(|| Box::new(Special { route, grant })))
}

/// Most functions ask for nothing.
fn is_usual(function: &Function) -> bool {
    let (settings, credentials) = (&function.settings, &function.credentials);
    settings.headers.is_empty()
        && function.token().is_none()
        && settings.proxy.is_none()
        && settings.authorities.is_none()
        && credentials.client_certificate.is_none()
        && matches!(credentials.authorization, Authorization::None)
}

/// What was checked when it was set is checked again where it is sent.
fn own_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Outcome> {
    let unusable = || {
        impossible(
            ErrorClass::Render,
            format!("the function's header {name:?} cannot be sent"),
        )
    };
    if is_reserved(name) {
        return Err(unusable());
    }
    let known = HeaderName::try_from(name).map_err(|_cause| unusable())?;
    let mut value = HeaderValue::try_from(value).map_err(|_cause| unusable())?;
    value.set_sensitive(suggests_a_secret(known.as_str()));
    Ok((known, value))
}

fn service_token(
    call: &Call<'_>,
    id: &str,
    algorithm: TokenAlgorithm,
    body: &[u8],
) -> Result<HeaderValue, Outcome> {
    let keys = call.token_keys.and_then(|keys| keys.signing(call.now));
    // It is made when the project is, or a moment after this release came.
    let key = keys.ok_or_else(|| Outcome::Unreachable {
        class: ErrorClass::Render,
        message: "there is no key yet that signs the X-SC-Token".to_owned(),
    })?;
    let claims = Claims {
        node: call.worker,
        audience: &origin(&call.function.url),
        project: &call.function.project,
        delivery: id,
        body,
        id: &Uuid::new_v4().to_string(),
        now: call.now,
    };
    let token = token::sign(key, algorithm, &claims)
        .map_err(|error| impossible(ErrorClass::Render, error.to_string()))?;
    secret(&format!("Bearer {token}"))
}

fn proxy(function: &Function) -> Result<Option<Uri>, Outcome> {
    let Some(url) = &function.settings.proxy else {
        return Ok(None);
    };
    url.as_str().parse().map(Some).map_err(|_cause| {
        impossible(
            ErrorClass::Render,
            "the URL of the function's proxy cannot be called".to_owned(),
        )
    })
}

/// A value that is shown and logged nowhere.
pub(super) fn secret(value: &str) -> Result<HeaderValue, Outcome> {
    let mut value = HeaderValue::try_from(value).map_err(|_it_would_show_it| {
        impossible(
            ErrorClass::Render,
            "the function's credentials fit no header".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r12_a_header_that_is_ours_or_would_begin_another_is_not_sent() {
        for (name, value) in [
            ("host", "inside"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("connection", "upgrade"),
            ("webhook-signature", "v1,forged"),
            ("x-tenant", "a\r\nx-evil: 1"),
            ("x-tenant", "a\nb"),
            ("x tenant", "a"),
            ("x-tenant:", "a"),
        ] {
            let outcome = own_header(name, value).unwrap_err();
            assert!(
                matches!(outcome, Outcome::Impossible { .. }),
                "{name}: {outcome:?}"
            );
        }
        assert!(own_header("x-tenant", "acme").is_ok());
    }

    #[test]
    fn a_header_that_sounds_secret_is_not_shown() {
        for (name, is_secret) in [
            ("x-api-key", true),
            ("x-tenant-token", true),
            ("x-shared-secret", true),
            ("cookie", true),
            ("x-tenant", false),
        ] {
            let (_, value) = own_header(name, "a").unwrap();
            assert_eq!(value.is_sensitive(), is_secret, "{name}");
        }
    }
}
