//! Connections to the services, with the key and the project on every call.

use protocol::access::PROJECT_HEADER;
use protocol::delivery::v1::delivery_service_client::DeliveryServiceClient;
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::functions::v1::function_service_client::FunctionServiceClient;
use protocol::functions::v1::trigger_service_client::TriggerServiceClient;
use protocol::gateway::v1::gateway_service_client::GatewayServiceClient;
use protocol::gateway::v1::script_service_client::ScriptServiceClient;
use protocol::imports::v1::import_service_client::ImportServiceClient;
use protocol::invocation::v1::invocation_service_client::InvocationServiceClient;
use protocol::logs::v1::log_service_client::LogServiceClient;
use protocol::packages::v1::package_service_client::PackageServiceClient;
use protocol::projects::v1::key_service_client::KeyServiceClient;
use protocol::projects::v1::project_service_client::ProjectServiceClient;
use protocol::redrive::v1::redrive_service_client::RedriveServiceClient;
use protocol::schedules::v1::schedule_service_client::ScheduleServiceClient;
use protocol::sessions::v1::session_service_client::SessionServiceClient;
use protocol::waiting::v1::waiting_service_client::WaitingServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::health_client::HealthClient;
use url::Url;

use crate::command_line::Connection;
use crate::failure::Failure;

/// Answers larger than this are refused; a page of 1,000 lines stays well below.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

pub(crate) type Authorised = InterceptedService<Channel, Identity>;

/// Says on every call who calls.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    authorization: Option<MetadataValue<Ascii>>,
    project: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        if let Some(project) = &self.project {
            metadata.insert(PROJECT_HEADER, project.clone());
        }
        Ok(request)
    }
}

impl Connection {
    fn identity(&self) -> Result<Identity, Failure> {
        let header = |name: &str, value: String| {
            value
                .parse()
                .map_err(|_odd| Failure::usage(format!("{name} is not plain ASCII")))
        };
        let authorization = self
            .api_key
            .as_ref()
            .filter(|key| !key.is_empty())
            .map(|key| header("--api-key", format!("Bearer {key}")));
        let project = self
            .project
            .as_ref()
            .map(|project| header("--project", project.clone()));
        Ok(Identity {
            authorization: authorization.transpose()?,
            project: project.transpose()?,
        })
    }

    fn connect(&self, at: Option<&Url>) -> Result<Authorised, Failure> {
        let server = self.server()?;
        let url = at.unwrap_or(&server);
        let wrong = |error: tonic::transport::Error| {
            Failure::usage(format!("{url} is not the URL of a server: {error}"))
        };
        let mut endpoint = Endpoint::from_shared(url.to_string()).map_err(wrong)?;
        if url.scheme() == "https" {
            endpoint = endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(wrong)?;
        }
        Ok(InterceptedService::new(
            endpoint.connect_lazy(),
            self.identity()?,
        ))
    }

    pub(crate) fn events(&self) -> Result<EventServiceClient<Authorised>, Failure> {
        Ok(EventServiceClient::new(
            self.connect(self.emitter.as_ref())?,
        ))
    }

    pub(crate) fn functions(&self) -> Result<FunctionServiceClient<Authorised>, Failure> {
        Ok(FunctionServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn triggers(&self) -> Result<TriggerServiceClient<Authorised>, Failure> {
        Ok(TriggerServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn gateway(&self) -> Result<GatewayServiceClient<Authorised>, Failure> {
        Ok(GatewayServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn schedules(&self) -> Result<ScheduleServiceClient<Authorised>, Failure> {
        Ok(ScheduleServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn packages(&self) -> Result<PackageServiceClient<Authorised>, Failure> {
        let connection = self.connect(self.functions_server.as_ref())?;
        Ok(PackageServiceClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    pub(crate) fn imports(&self) -> Result<ImportServiceClient<Authorised>, Failure> {
        let connection = self.connect(self.functions_server.as_ref())?;
        Ok(ImportServiceClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    pub(crate) fn scripts(&self) -> Result<ScriptServiceClient<Authorised>, Failure> {
        Ok(ScriptServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn keys(&self) -> Result<KeyServiceClient<Authorised>, Failure> {
        Ok(KeyServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn projects(&self) -> Result<ProjectServiceClient<Authorised>, Failure> {
        Ok(ProjectServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn sessions(&self) -> Result<SessionServiceClient<Authorised>, Failure> {
        Ok(SessionServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn redrives(&self) -> Result<RedriveServiceClient<Authorised>, Failure> {
        Ok(RedriveServiceClient::new(
            self.connect(self.logs_server.as_ref())?,
        ))
    }

    pub(crate) fn deliveries(&self) -> Result<DeliveryServiceClient<Authorised>, Failure> {
        Ok(DeliveryServiceClient::new(
            self.connect(self.worker.as_ref())?,
        ))
    }

    pub(crate) fn invocations(&self) -> Result<InvocationServiceClient<Authorised>, Failure> {
        let connection = self.connect(self.worker.as_ref())?;
        Ok(InvocationServiceClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    pub(crate) fn waiting(&self) -> Result<WaitingServiceClient<Authorised>, Failure> {
        Ok(WaitingServiceClient::new(
            self.connect(self.functions_server.as_ref())?,
        ))
    }

    pub(crate) fn health(&self) -> Result<HealthClient<Authorised>, Failure> {
        Ok(HealthClient::new(self.connect(None)?))
    }

    pub(crate) fn logs(&self) -> Result<LogServiceClient<Authorised>, Failure> {
        let connection = self.connect(self.logs_server.as_ref())?;
        Ok(LogServiceClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX))
    }
}
