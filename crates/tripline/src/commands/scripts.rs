//! `tripline scripts`: which functions see calls of the API, before, after and when they are answered.

use protocol::functions::v1 as functions;
use protocol::gateway::v1 as wire;
use serde::Serialize;

use crate::command_line::{Connection, Scripts};
use crate::failure::Failure;
use crate::output::{self, Row};

#[derive(Debug, Serialize)]
struct ShownScript {
    event: String,
    function: String,
    is_active: bool,
    allow_event_modification: bool,
    on_error: String,
    priority: i32,
    /// The trigger's name, by which logs are asked.
    trigger: String,
}

impl From<functions::Trigger> for ShownScript {
    fn from(script: functions::Trigger) -> Self {
        Self {
            is_active: script.enabled.unwrap_or_default(),
            event: script.api_event,
            function: script.function,
            allow_event_modification: script.allow_event_modification,
            on_error: script.on_error,
            priority: script.priority,
            trigger: script.name,
        }
    }
}

impl Row for ShownScript {
    const HEADINGS: &'static [&'static str] = &[
        "EVENT", "FUNCTION", "ACTIVE", "MODIFIES", "ON ERROR", "PRIORITY",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.event.clone(),
            self.function.clone(),
            self.is_active.to_string(),
            self.allow_event_modification.to_string(),
            self.on_error.clone(),
            self.priority.to_string(),
        ]
    }
}

pub(crate) async fn run(command: Scripts, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.scripts()?;
    match command {
        Scripts::Put { event, script } => {
            let timeout = script.timeout.map(protocol::to_duration);
            let request = wire::PutScriptRequest {
                event,
                function: script.function,
                active: script.active,
                allow_event_modification: script.allow_modification,
                on_error: script.on_error.unwrap_or_default(),
                priority: script.priority,
                retry: timeout.map(|timeout| functions::RetryPolicy {
                    timeout: Some(timeout),
                    ..functions::RetryPolicy::default()
                }),
            };
            let answer = client.put_script(request).await?.into_inner();
            let shown = ShownScript::from(answer.script.unwrap_or_default());
            let fields = [
                ("event", shown.event.clone()),
                ("function", shown.function.clone()),
                ("active", shown.is_active.to_string()),
                ("modifies", shown.allow_event_modification.to_string()),
                ("on error", shown.on_error.clone()),
                ("priority", shown.priority.to_string()),
                ("trigger", shown.trigger.clone()),
            ];
            output::one(connection.output, &shown, &fields)
        }
        Scripts::List => {
            let request = wire::ListScriptsRequest {};
            let scripts = client.list_scripts(request).await?.into_inner().scripts;
            let shown: Vec<ShownScript> = scripts.into_iter().map(Into::into).collect();
            output::rows(connection.output, &shown)
        }
        Scripts::Delete { event } => {
            let request = wire::DeleteScriptRequest {
                event: event.clone(),
            };
            client.delete_script(request).await?;
            #[derive(Serialize)]
            struct Deleted<'a> {
                deleted: &'a str,
            }
            let deleted = Deleted { deleted: &event };
            output::one(connection.output, &deleted, &[("deleted", event.clone())])
        }
    }
}
