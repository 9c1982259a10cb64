//! A small HTTP client for RabbitMQ's management interface.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// The management interface answers in milliseconds; a broker that is just starting in seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// RabbitMQ's management interface, as its user `guest`.
#[derive(Debug, Clone)]
pub(crate) struct ManagementApi {
    base: String,
}

impl ManagementApi {
    /// `base` is like `http://127.0.0.1:15672`.
    pub(crate) fn new(base: impl Into<String>) -> Self {
        Self {
            base: base.into().trim_end_matches('/').to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let (status, body) = self.send(Method::GET, path, "").await?;
        ensure!(status.is_success(), "GET {path} answered {status}");
        serde_json::from_slice(&body).with_context(|| format!("read the answer of GET {path}"))
    }

    pub(crate) async fn put(&self, path: &str, body: &'static str) -> anyhow::Result<()> {
        let (status, answer) = self.send(Method::PUT, path, body).await?;
        if !status.is_success() {
            bail!(
                "PUT {path} answered {status}: {}",
                String::from_utf8_lossy(&answer)
            );
        }
        Ok(())
    }

    /// What is gone already counts as deleted.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let (status, _) = self.send(Method::DELETE, path, "").await?;
        ensure!(
            status.is_success() || status == StatusCode::NOT_FOUND,
            "DELETE {path} answered {status}"
        );
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: &'static str,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let url = format!("{}{path}", self.base);
        let credentials = base64::engine::general_purpose::STANDARD.encode("guest:guest");
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header(header::AUTHORIZATION, format!("Basic {credentials}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .with_context(|| format!("build a request to {url}"))?;
        let exchange = async {
            let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
            let response = client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
                .collect()
                .await
                .map_err(anyhow::Error::from_boxed)?;
            Ok::<_, anyhow::Error>((status, body.to_bytes()))
        };
        tokio::time::timeout(REQUEST_TIMEOUT, exchange)
            .await
            .with_context(|| format!("wait {REQUEST_TIMEOUT:?} for {url}"))?
            .with_context(|| format!("ask {url}"))
    }
}
