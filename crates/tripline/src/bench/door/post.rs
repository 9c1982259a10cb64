//! One event for each HTTP POST, on connections that are kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::{Emission, senders};
use crate::command_line::Connection;
use crate::failure::Failure;

/// A door that has not answered by then does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The part of a request that is the same for every event.
#[derive(Debug)]
struct Envelope {
    uri: Uri,
    headers: HeaderMap,
}

pub(super) async fn emit(emission: &Arc<Emission>, connection: &Connection) -> Result<(), Failure> {
    let envelope = Arc::new(Envelope::new(connection)?);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    if envelope.uri.scheme_str() != Some("https") {
        return send_all(emission, &envelope, connector).await;
    }
    connector.enforce_http(false);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| {
            Failure::local(format!("the system's certificates cannot be read: {error}"))
        })?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    send_all(emission, &envelope, connector).await
}

async fn send_all<C>(
    emission: &Arc<Emission>,
    envelope: &Arc<Envelope>,
    connector: C,
) -> Result<(), Failure>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(emission.concurrency)
        .build::<_, Full<Bytes>>(connector);
    senders(emission, || {
        let (emission, envelope, client) =
            (Arc::clone(emission), Arc::clone(envelope), client.clone());
        async move {
            while let Some(turn) = emission.pace.next().await {
                emission.ledger.begin(turn.event, turn.at_us);
                let body = emission.sample.json(emission.ledger.tag(), turn.event);
                let answer = timeout(ANSWER_TIMEOUT, send(&client, envelope.request(body)));
                match answer.await {
                    Ok(Ok(None)) => emission.ledger.accept(turn.event),
                    Ok(Ok(Some(refusal))) => emission.ledger.refuse(turn.event, || refusal),
                    Ok(Err(error)) => emission.ledger.give_up(|| describe(&error)),
                    Err(_elapsed) => emission
                        .ledger
                        .give_up(|| format!("no answer in {ANSWER_TIMEOUT:?}")),
                }
            }
        }
    })
    .await
}

/// What the door says against the event, if anything.
async fn send<C>(
    client: &Client<C, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Option<String>, hyper_util::client::legacy::Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let response = client.request(request).await?;
    let status = response.status();
    // Read to the end, or the connection cannot be used again.
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    if status == StatusCode::ACCEPTED {
        return Ok(None);
    }
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Ok(Some(format!(
        "{status}: {}",
        body.unwrap_or_default().trim()
    )))
}

fn describe(error: &hyper_util::client::legacy::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

impl Envelope {
    fn new(connection: &Connection) -> Result<Self, Failure> {
        let server = match &connection.emitter {
            Some(emitter) => emitter.clone(),
            None => connection.server()?,
        };
        let project = connection.project.as_deref().unwrap_or("default");
        let uri = format!(
            "{}/v1/projects/{project}/events",
            server.as_str().trim_end_matches('/')
        );
        let uri = uri
            .parse()
            .map_err(|error| Failure::usage(format!("{uri} is not a URL: {error}")))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &connection.api_key {
            let authorization = HeaderValue::try_from(format!("Bearer {key}"));
            let authorization =
                authorization.map_err(|_odd| Failure::usage("--api-key is not plain ASCII"))?;
            headers.insert(AUTHORIZATION, authorization);
        }
        Ok(Self { uri, headers })
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}
