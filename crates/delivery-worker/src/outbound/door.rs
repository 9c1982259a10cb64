//! The door of the system, for what comes in here and belongs there: messages of triggers.

use std::fmt;

use bytes::Bytes;
use http::{Request, Response};
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::events::v1::{TakeMessagesRequest, TakeMessagesResponse};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt as _};

type Connected = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// The service that takes events: over a connection, or in the same process without one.
#[derive(Clone)]
pub struct Door(EventServiceClient<Connected>);

impl Door {
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
    {
        let service =
            BoxCloneSyncService::new(service.map_err(|error| Status::from_error(error.into())));
        let bytes_max = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        // What may be sent is for the door to say.
        Self(EventServiceClient::new(service).max_encoding_message_size(bytes_max))
    }

    /// Hands on the messages of a request, with who sent them.
    pub(crate) async fn take_messages(
        &self,
        metadata: MetadataMap,
        body: Bytes,
        require_exchange: bool,
    ) -> Result<TakeMessagesResponse, Status> {
        let request = TakeMessagesRequest {
            body,
            require_exchange,
        };
        let mut request = tonic::Request::new(request);
        *request.metadata_mut() = metadata;
        let answer = self.0.clone().take_messages(request).await?;
        Ok(answer.into_inner())
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Door")
    }
}
