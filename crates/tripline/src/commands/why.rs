//! `tripline why`: which condition of which trigger kept an event from calling a function.

use protocol::functions::v1 as functions;
use protocol::logs::v1::GetEventRequest;
use serde::Serialize;

use crate::command_line::Connection;
use crate::failure::Failure;
use crate::output::{self, Row};

/// One condition as printed.
#[derive(Debug, Serialize)]
struct ShownCondition {
    trigger: String,
    /// Whether the event calls the function by this trigger.
    calls: bool,
    condition: String,
    holds: bool,
    wanted: String,
    found: String,
}

impl Row for ShownCondition {
    const HEADINGS: &'static [&'static str] =
        &["TRIGGER", "CALLS", "CONDITION", "HOLDS", "WANTED", "FOUND"];

    fn cells(&self) -> Vec<String> {
        let yes = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
        vec![
            self.trigger.clone(),
            yes(self.calls),
            self.condition.clone(),
            yes(self.holds),
            self.wanted.clone(),
            self.found.clone(),
        ]
    }
}

pub(crate) async fn run(
    event: String,
    function: String,
    connection: &Connection,
) -> Result<(), Failure> {
    let request = GetEventRequest { id: event };
    let history = connection.logs()?.get_event(request).await?.into_inner();
    let request = functions::ExplainEventRequest {
        function: function.clone(),
        event: history.event,
    };
    let answer = connection.triggers()?.explain_event(request).await?;
    let triggers = answer.into_inner().triggers;
    if triggers.is_empty() {
        return Err(Failure::local(format!(
            "no trigger calls {function:?}, so no event does"
        )));
    }
    let shown: Vec<ShownCondition> = triggers.into_iter().flat_map(shown).collect();
    output::rows(connection.output, &shown)
}

fn shown(explanation: functions::TriggerExplanation) -> Vec<ShownCondition> {
    let functions::TriggerExplanation {
        trigger,
        calls,
        conditions,
    } = explanation;
    let conditions = conditions.into_iter();
    conditions
        .map(|condition| ShownCondition {
            trigger: trigger.clone(),
            calls,
            condition: condition.what,
            holds: condition.holds,
            wanted: condition.wanted,
            found: condition.found,
        })
        .collect()
}
