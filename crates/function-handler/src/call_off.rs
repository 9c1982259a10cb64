//! Which deliveries nobody wants any more, and letting go of those that wait at once.
//!
//! What was deleted or switched off calls its waiting deliveries; [`release`](crate::release) then
//! cancels them. A changed retry policy calls what waits to be tried again, to be timed anew. This is for speed alone: if it never comes to that, because this replica
//! dies or the line is full, they are cancelled when they are due by themselves.

use std::sync::Arc;
use std::time::Duration;

use domain::delivery::Target;
use domain::function::Function;
use domain::name::ProjectName;
use domain::registry::Registry;
use jiff::Timestamp;
use lifecycle::Tasks;
use storage::WaitingRoom;
use storage::waiting_room::Owner;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::error::with_causes;

/// Deletions that stand in line while the database is slow.
const LINE_MAX: usize = 1_024;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// Why nobody wants a delivery any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwanted {
    FunctionDeleted,
    TriggerDeleted,
    TriggerDisabled,
}

impl Unwanted {
    pub(crate) const fn remark(self) -> &'static str {
        match self {
            Self::FunctionDeleted => "function_deleted",
            Self::TriggerDeleted => "trigger_deleted",
            Self::TriggerDisabled => "trigger_disabled",
        }
    }

    /// What a delivery to `target` waits for in vain.
    pub(crate) fn owner(self, target: &Target) -> Owner {
        match self {
            Self::FunctionDeleted => Owner::Function(target.function.clone()),
            Self::TriggerDeleted | Self::TriggerDisabled => Owner::Trigger(target.trigger.clone()),
        }
    }
}

/// The function to call, if the delivery is still wanted.
pub(crate) fn wanted<'registry>(
    registry: &'registry Registry,
    project: &ProjectName,
    target: &Target,
) -> Result<&'registry Arc<Function>, Unwanted> {
    let function = registry
        .function(project, &target.function)
        .ok_or(Unwanted::FunctionDeleted)?;
    let trigger = registry
        .trigger(project, &target.trigger)
        .ok_or(Unwanted::TriggerDeleted)?;
    if trigger.is_enabled {
        Ok(function)
    } else {
        Err(Unwanted::TriggerDisabled)
    }
}

/// Where to say that something was deleted or switched off. Clones share the line.
#[derive(Debug, Clone)]
pub struct CallOff {
    line: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Order {
    project: ProjectName,
    owner: Owner,
}

impl CallOff {
    /// Starts the loop that works the line off.
    pub fn start(room: Arc<dyn WaitingRoom>, tasks: &Tasks) -> Self {
        let (line, orders) = mpsc::channel(LINE_MAX);
        let run = run(room, orders, tasks.closing());
        tasks.spawn_background("call off what waits", run);
        Self { line }
    }

    /// Soon makes due what waits for `owner`. The change must be visible in the store: whoever
    /// takes such a delivery reads there whether it is still wanted.
    pub fn waiting_for(&self, project: &ProjectName, owner: Owner) {
        let order = Order {
            project: project.clone(),
            owner,
        };
        if let Err(error) = self.line.try_send(order) {
            warn!(%project, %error, "what waits is cancelled only when it is due");
        }
    }
}

/// Runs until `closing`, and then until the line is empty, as long as the store answers.
async fn run(
    room: Arc<dyn WaitingRoom>,
    mut orders: mpsc::Receiver<Order>,
    mut closing: impl Future<Output = ()> + Unpin,
) -> anyhow::Result<()> {
    loop {
        let order = tokio::select! {
            biased;
            order = orders.recv() => order,
            () = &mut closing => None,
        };
        let Some(Order { project, owner }) = order else {
            return Ok(());
        };
        let mut back_off = BACK_OFF_MIN;
        loop {
            match room.make_due(&project, &owner, Timestamp::now()).await {
                Ok(rows) => {
                    debug!(%project, ?owner, rows, "waiting deliveries are called");
                    break;
                }
                Err(error) => {
                    warn!(error = %with_causes(&error), %project, ?owner, "what waits cannot be called yet");
                }
            }
            tokio::select! {
                () = &mut closing => return Ok(()),
                () = sleep(back_off) => back_off = (back_off * 2).min(BACK_OFF_MAX),
            }
        }
    }
}
