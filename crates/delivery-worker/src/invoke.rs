//! Calls a function directly, for whoever waits for its result.

use std::sync::Arc;
use std::time::Duration;

use domain::event_type::EventType;
use domain::function::Function;
use domain::invocation::{CallError, DirectCall};
use domain::lineage::{DEPTH_HEADER, Lineage};
use domain::name::{FunctionName, ProjectName};
use domain::schema::Schema;
use domain::trigger::DEPTH_MAX;
use moka::sync::Cache;
use protocol::fault::{Fault, FaultKind};

use crate::call_now::{Answer, Ask, CallNow, Content, TIMEOUT, TIMEOUT_MAX, event_of_call};

/// Compiled schemas that are kept, some tens of KiB each.
const SCHEMAS_MAX: u64 = 1_000;

const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// Calls functions directly. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Invoker {
    calls: CallNow,
    /// By function and revision.
    schemas: Cache<(ProjectName, FunctionName, u64), Arc<Schema>>,
}

/// A direct call, with who makes it.
#[derive(Debug)]
pub struct Order {
    pub project: ProjectName,
    pub call: DirectCall,
    /// [`TIMEOUT`] when it is left out.
    pub timeout: Option<Duration>,
    pub traceparent: Option<String>,
    /// What a function that calls passed on of what it was called for.
    pub lineage: Option<Lineage>,
}

/// What came of a direct call.
#[derive(Debug)]
pub struct Invoked {
    pub function: Arc<Function>,
    pub answer: Answer,
}

impl Invoker {
    pub fn new(calls: CallNow) -> Self {
        Self {
            calls,
            schemas: Cache::new(SCHEMAS_MAX),
        }
    }

    pub const fn calls(&self) -> &CallNow {
        &self.calls
    }

    /// Calls a function once and gives its answer, whatever it is.
    ///
    /// # Errors
    /// When the function was not called: what is wrong with the call, or that it is paused.
    pub async fn invoke(&self, order: Order) -> Result<Invoked, Fault> {
        let timeout = order.timeout.unwrap_or(TIMEOUT);
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
            let value = settings::Duration::from(timeout).to_string();
            let allowed = "10 ms to 5 min";
            return Err(Fault::invalid("timeout", value, "is out of range", allowed));
        }
        let function = self.function(&order.project, &order.call)?;
        self.check_parameters(&function, &order.call)?;
        let event = event_of(&order, &function)?;
        let ask = Ask {
            content: Content::Json(order.call.body(&function.name)),
            timeout,
            ..Ask::new(Arc::clone(&function), event)
        };
        // It is large, and what leads here is large already.
        let answer = Box::pin(self.calls.call(&ask)).await;
        Ok(Invoked { function, answer })
    }

    fn function(&self, project: &ProjectName, call: &DirectCall) -> Result<Arc<Function>, Fault> {
        let package = call.package.as_deref();
        let package = package.unwrap_or(FunctionName::DEFAULT_PACKAGE);
        let allowed = "the name of a function, or its endpoint";
        let function = call.function.as_deref();
        let function = function.ok_or_else(|| Fault::missing("context.function", allowed))?;
        let registry = &self.calls.deliverer().registry;
        if !registry.is_filled() {
            let message = "which functions there are is not known here yet";
            return Err(Fault::unavailable(message));
        }
        let name = {
            let registry = registry.read();
            let found = registry.find_function(project, package, function);
            found.map_err(of_call)?.name.clone()
        };
        self.calls.function(project, &name)
    }

    fn check_parameters(&self, function: &Function, call: &DirectCall) -> Result<(), Fault> {
        let Some(text) = &function.settings.parameters_schema else {
            return Ok(());
        };
        let key = (
            function.project.clone(),
            function.name.clone(),
            function.revision,
        );
        let schema = self
            .schemas
            .try_get_with(key, || Schema::parse(text).map(Arc::new));
        let schema = schema.map_err(|error| {
            // It was checked when it was set.
            let message = format!("the function's parameters_schema {error}");
            Fault::new(FaultKind::Internal, message)
        })?;
        let shown = || String::from_utf8_lossy(&call.parameters).into_owned();
        let parameters = serde_json::from_slice(&call.parameters).map_err(|error| {
            let message = format!("is not JSON: {error}");
            Fault::invalid("parameters", shown(), message, "JSON")
        })?;
        schema.check(&parameters).map_err(|violation| {
            let field = format!("parameters{}", violation.pointer);
            let allowed = format!("what {} of the parameters_schema says", violation.rule);
            Fault::invalid(field, shown(), violation.message, allowed)
        })
    }
}

/// What the log tells of the call.
fn event_of(order: &Order, function: &Function) -> Result<domain::event::Event, Fault> {
    let logged = order.call.logged(&function.name);
    let mut event = event_of_call(&order.project, EventType::direct_call(), logged);
    let FunctionName { package, name } = &function.name;
    event.subject = Some(format!("functions/{package}/{name}"));
    event.traceparent.clone_from(&order.traceparent);
    if let Some(lineage) = order.lineage.clone() {
        lineage.give_to(&mut event);
    }
    if event.depth > DEPTH_MAX {
        let message = "so many calls led to this one that it is taken for a loop";
        let allowed = format!("at most {DEPTH_MAX}");
        let depth = event.depth.to_string();
        return Err(Fault::invalid(DEPTH_HEADER, depth, message, allowed));
    }
    Ok(event)
}

pub(crate) fn of_call(error: CallError) -> Fault {
    Fault::invalid(error.field, error.value, error.message, error.allowed)
}
