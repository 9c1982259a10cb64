//! Access tokens of the client-credentials grant (RFC 6749, 4.4), fetched when needed and kept.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::delivery::{ErrorClass, Outcome};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use moka::sync::Cache;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::{self, byte_serialize};

use super::answer::Answer;
use super::route::digest;
use super::{Channels, Outgoing, SlowestAnswer, fault, is_callable};

/// Tokens of this many grants are kept.
const GRANTS_MAX: u64 = 10_000;

/// A grant that nobody used for this long is forgotten.
const GRANT_IDLE: Duration = Duration::from_secs(3600);

/// An answer with a token is not longer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A token that does not say how long it is good for is used for this time.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(300);

/// A token is not used in the last tenth of its time, or the last minute.
const LIFETIME_LEFT_MAX: Duration = Duration::from_secs(60);

/// What a token is asked for with. Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    pub token_url: Url,
    pub client_id: String,
    pub client_secret: String,
    /// Words separated by spaces; may be empty.
    pub scope: String,
}

impl fmt::Debug for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Grant({})", self.token_url)
    }
}

#[derive(Debug, Clone)]
struct Token {
    authorization: HeaderValue,
    fresh_until: Instant,
}

/// Tokens in use. Clones share them.
#[derive(Clone)]
pub(super) struct Grants {
    /// The lock of a grant is held while its token is fetched, so that one request does it for all.
    tokens: Cache<[u8; 32], Arc<Mutex<Option<Token>>>>,
}

impl Default for Grants {
    fn default() -> Self {
        let tokens = Cache::builder()
            .max_capacity(GRANTS_MAX)
            .time_to_idle(GRANT_IDLE)
            .build();
        Self { tokens }
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Grants({} in use)", self.tokens.entry_count())
    }
}

impl Grants {
    /// The `Authorization` header by a grant: the kept token, unless it is the one that was
    /// `refused`, or a new one.
    ///
    /// # Errors
    /// The outcome of the attempt that needs it.
    pub(super) async fn authorization(
        &self,
        channels: &Channels,
        grant: &Grant,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Outcome> {
        let place = self.tokens.get_with(grant.key(), Arc::default);
        let mut token = place.lock().await;
        if let Some(kept) = token.as_ref()
            && refused != Some(&kept.authorization)
            && Instant::now() < kept.fresh_until
        {
            return Ok(kept.authorization.clone());
        }
        let fetched = fetch(channels, grant).await?;
        let authorization = fetched.authorization.clone();
        *token = Some(fetched);
        Ok(authorization)
    }
}

impl Grant {
    fn key(&self) -> [u8; 32] {
        digest(&[
            self.token_url.as_str(),
            &self.client_id,
            &self.client_secret,
            &self.scope,
        ])
    }

    fn request(&self) -> Option<TokenRequest> {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!(
            "{}:{}",
            encoded(&self.client_id),
            encoded(&self.client_secret)
        );
        let mut authorization =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
        authorization.set_sensitive(true);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.scope.is_empty() {
            form.append_pair("scope", &self.scope);
        }
        let uri: Uri = self.token_url.as_str().parse().ok()?;
        if !is_callable(&uri) {
            return None;
        }
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = vec![
            (header::CONTENT_TYPE, form_type),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (header::AUTHORIZATION, authorization),
        ];
        Some(TokenRequest {
            uri,
            headers,
            body: form.finish().into(),
        })
    }
}

/// What a token server is asked.
struct TokenRequest {
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// What a token server answers, as far as it matters.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

async fn fetch(channels: &Channels, grant: &Grant) -> Result<Token, Outcome> {
    let TokenRequest {
        uri,
        mut headers,
        mut body,
    } = grant.request().ok_or_else(|| Outcome::Impossible {
        class: ErrorClass::Render,
        message: "the token server's URL or the client's id and secret cannot be sent".to_owned(),
    })?;
    // Asked for now: its time counts from before the question.
    let asked_at = Instant::now();
    let outgoing = Outgoing {
        uri: &uri,
        headers: &mut headers,
        body: &mut body,
        authorization: None,
    };
    let response = channels.request(outgoing).await;
    let response = response.map_err(of_token_server)?;
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(unusable(&format!("answered {}", head.status.as_u16())));
    }
    let mut answer = Answer::default();
    answer
        .read_body(&mut body, ANSWER_BYTES_MAX, SlowestAnswer::default())
        .await
        .map_err(|error| of_token_server(fault::outcome_of_body(&error)))?;
    channels.kept.give_back(&uri, body);
    let answer: TokenAnswer = serde_json::from_slice(answer.body())
        .map_err(|_it_may_show_a_token| unusable("answered without a token"))?;
    let is_bearer = answer
        .token_type
        .is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    if !is_bearer {
        return Err(unusable("gave a token that is no bearer token"));
    }
    let mut authorization = HeaderValue::try_from(format!("Bearer {}", answer.access_token))
        .map_err(|_it_would_show_the_token| unusable("gave a token that fits no header"))?;
    authorization.set_sensitive(true);
    let lifetime = lifetime(answer.expires_in.as_ref());
    Ok(Token {
        authorization,
        fresh_until: asked_at + lifetime - (lifetime / 10).min(LIFETIME_LEFT_MAX),
    })
}

/// Seconds, which some servers write as text.
fn lifetime(expires_in: Option<&serde_json::Value>) -> Duration {
    let seconds = expires_in.and_then(|value| {
        value
            .as_u64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
    });
    // A token is kept for a day at most, whatever its server promises.
    seconds.map_or(LIFETIME_DEFAULT, |seconds| {
        Duration::from_secs(seconds.min(86_400))
    })
}

fn unusable(what: &str) -> Outcome {
    fault::unreachable(ErrorClass::Status, format!("the token server {what}"))
}

/// Says whose fault it is; what may not be called stays refused for good.
fn of_token_server(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Unreachable { class, message } => Outcome::Unreachable {
            class,
            message: format!("the token server: {message}"),
        },
        Outcome::Impossible { class, message } => Outcome::Impossible {
            class,
            message: format!("the token server: {message}"),
        },
        answered @ Outcome::Answered { .. } => answered,
    }
}
