//! `tripline gateway`: services behind the API gateway, and the events of their calls.

use protocol::gateway::v1 as wire;
use serde::Serialize;

use super::{read_data, show_time};
use crate::command_line::{Connection, Gateway, Output, Services};
use crate::failure::Failure;
use crate::output::{self, Row};

#[derive(Debug, Serialize)]
struct ShownService {
    name: String,
    base_url: String,
    access: String,
    description: String,
    events: u32,
    created_at: String,
}

impl From<wire::Service> for ShownService {
    fn from(service: wire::Service) -> Self {
        Self {
            created_at: show_time(service.created_at.as_ref()),
            name: service.name,
            base_url: service.base_url,
            access: service.access,
            description: service.description,
            events: service.events,
        }
    }
}

impl Row for ShownService {
    const HEADINGS: &'static [&'static str] = &["NAME", "URL", "ACCESS", "DESCRIBED BY", "EVENTS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.base_url.clone(),
            self.access.clone(),
            self.description.clone(),
            self.events.to_string(),
        ]
    }
}

impl ShownService {
    fn print(&self, connection: &Connection) -> Result<(), Failure> {
        let fields = [
            ("name", self.name.clone()),
            ("url", self.base_url.clone()),
            ("access", self.access.clone()),
            ("described by", self.description.clone()),
            ("events", self.events.to_string()),
            ("created", self.created_at.clone()),
        ];
        output::one(connection.output, self, &fields)
    }
}

#[derive(Debug, Serialize)]
struct ShownEvent {
    event: String,
}

pub(crate) async fn run(command: Gateway, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.gateway()?;
    match command {
        Gateway::Services(command) => services(command, connection).await,
        Gateway::Events { service } => {
            let request = wire::ListEventsRequest { service };
            let events = client.list_events(request).await?.into_inner().events;
            if events.is_empty() && connection.output == Output::Table {
                return output::line("its calls fire no events: it is not described");
            }
            events
                .into_iter()
                .try_for_each(|event| match connection.output {
                    Output::Table => output::line(&event),
                    Output::Json => output::object(&ShownEvent { event }),
                })
        }
    }
}

async fn services(command: Services, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.gateway()?;
    match command {
        Services::Create {
            name,
            url,
            describe,
            document,
            access,
        } => {
            let document = document.as_deref().map(read_data).transpose()?;
            let request = wire::CreateServiceRequest {
                service: Some(wire::Service {
                    name,
                    base_url: url,
                    access: access.unwrap_or_default(),
                    description: describe.unwrap_or_default(),
                    ..wire::Service::default()
                }),
                document: document.unwrap_or_default().into(),
            };
            let service = client.create_service(request).await?.into_inner();
            ShownService::from(service).print(connection)
        }
        Services::List => {
            let request = wire::ListServicesRequest {};
            let services = client.list_services(request).await?.into_inner().services;
            let shown: Vec<ShownService> = services.into_iter().map(Into::into).collect();
            output::rows(connection.output, &shown)
        }
        Services::Get { name } => {
            let service = client.get_service(wire::GetServiceRequest { name }).await?;
            ShownService::from(service.into_inner()).print(connection)
        }
        Services::Delete { name } => {
            let request = wire::DeleteServiceRequest { name: name.clone() };
            client.delete_service(request).await?;
            #[derive(Serialize)]
            struct Deleted<'a> {
                deleted: &'a str,
            }
            let deleted = Deleted { deleted: &name };
            output::one(connection.output, &deleted, &[("deleted", name.clone())])
        }
    }
}
