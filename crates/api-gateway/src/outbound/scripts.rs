//! Has the scripts of a call run, by the delivery-worker: another process, or this one.

use std::time::Duration;

use protocol::access::INTERNAL_TOKEN_HEADER;
use protocol::api::INTERCEPT_BYTES_MAX;
use protocol::intercept::v1::intercept_service_client::InterceptServiceClient;
use protocol::intercept::v1::{InterceptRequest, InterceptResponse};
use settings::SecretString;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to ask for scripts. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Scripts {
    way: Way,
    token: Option<MetadataValue<Ascii>>,
}

#[derive(Debug, Clone)]
enum Way {
    Remote(InterceptServiceClient<Channel>),
    Within(InterceptServiceClient<Routes>),
}

impl Scripts {
    /// A delivery-worker in another process; connected to when it is first asked.
    ///
    /// # Errors
    /// When the URL is not one gRPC can call.
    pub fn at(server: &Url, token: Option<&SecretString>) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(server.to_string())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy();
        let client = InterceptServiceClient::new(channel)
            .max_decoding_message_size(INTERCEPT_BYTES_MAX)
            .max_encoding_message_size(INTERCEPT_BYTES_MAX);
        Self::by(Way::Remote(client), token)
    }

    /// The delivery-worker of this process, without a socket.
    ///
    /// # Errors
    /// When the token cannot be sent.
    pub fn within(worker: Routes, token: Option<&SecretString>) -> anyhow::Result<Self> {
        let client = InterceptServiceClient::new(worker)
            .max_decoding_message_size(INTERCEPT_BYTES_MAX)
            .max_encoding_message_size(INTERCEPT_BYTES_MAX);
        Self::by(Way::Within(client), token)
    }

    fn by(way: Way, token: Option<&SecretString>) -> anyhow::Result<Self> {
        let token = token.map(|token| token.expose().parse()).transpose()?;
        Ok(Self { way, token })
    }

    /// Runs the scripts of one phase.
    ///
    /// # Errors
    /// When they could not be asked for. That a script failed is no error here.
    pub async fn run(&self, asked: InterceptRequest) -> Result<InterceptResponse, Status> {
        let mut request = Request::new(asked);
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert(INTERNAL_TOKEN_HEADER, token.clone());
        }
        let answer = match &self.way {
            Way::Remote(client) => client.clone().intercept(request).await,
            Way::Within(client) => client.clone().intercept(request).await,
        };
        answer.map(tonic::Response::into_inner)
    }
}
