//! The functions that exist for one run.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::functions::v1::function_service_client::FunctionServiceClient;
use protocol::functions::v1::{CreateFunctionRequest, DeleteFunctionRequest, RetryPolicy};
use tonic::Code;

use crate::client::Authorised;
use crate::command_line::Connection;
use crate::failure::Failure;

/// A server that is gone must not keep the program from ending.
const DELETE_TIMEOUT: Duration = Duration::from_secs(60);

/// Functions that are made alike.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(crate) name: &'a str,
    /// One for each function.
    pub(crate) receivers: &'a [SocketAddr],
    /// By which the server reaches the receivers, if not by the address they listen on.
    pub(crate) host: Option<&'a str>,
    pub(crate) retry: Option<RetryPolicy>,
}

#[derive(Debug)]
pub(crate) struct TemporaryFunctions {
    client: FunctionServiceClient<Authorised>,
    names: Vec<String>,
    /// Whether the server said of any that it is made.
    is_any_made: bool,
}

impl TemporaryFunctions {
    pub(crate) fn new(connection: &Connection) -> Result<Self, Failure> {
        Ok(Self {
            client: connection.functions()?,
            names: Vec::new(),
            is_any_made: false,
        })
    }

    /// Makes `bench-NAME-N` for each receiver, called by events of the type that it is given.
    pub(crate) async fn create(
        &mut self,
        group: &Group<'_>,
        event_type: impl Fn(usize) -> String,
    ) -> Result<(), Failure> {
        for (number, receiver) in group.receivers.iter().enumerate() {
            let name = format!("bench-{}-{}", group.name, number + 1);
            // Noted first: a call whose answer is lost may have made it.
            self.names.push(name.clone());
            let url = match group.host {
                Some(host) => format!("http://{host}:{}/", receiver.port()),
                None => format!("http://{receiver}/"),
            };
            let request = CreateFunctionRequest {
                name,
                url,
                format: "cloudevents-binary".to_owned(),
                on: vec![event_type(number)],
                retry: group.retry.clone(),
                ..CreateFunctionRequest::default()
            };
            self.client.create_function(request).await?;
            self.is_any_made = true;
        }
        Ok(())
    }

    /// Deletes what was made.
    pub(crate) async fn delete(mut self) {
        let delete = async {
            for name in std::mem::take(&mut self.names) {
                let request = DeleteFunctionRequest { name: name.clone() };
                match self.client.delete_function(request).await {
                    Err(status) if status.code() != Code::NotFound && self.is_any_made => {
                        eprintln!(
                            "tripline: function {name} is left over: {}",
                            status.message()
                        );
                    }
                    _ => {}
                }
            }
        };
        if tokio::time::timeout(DELETE_TIMEOUT, delete).await.is_err() {
            eprintln!(
                "tripline: functions named bench-… are left over: the server does not answer"
            );
        }
    }
}
