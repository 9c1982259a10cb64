//! Switches functions off, by order of the workers that call them, and tells of it.

use std::sync::Arc;
use std::time::Duration;

use domain::delivery::Disable;
use domain::disable::event_about;
use domain::function::{Disabled, Function};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::error::with_causes;
use crate::inbound::now;
use crate::index::Index;
use crate::metrics;
use crate::outbound::own_events::OwnEvents;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// Follows orders to switch functions off. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SwitchOff {
    pub index: Arc<Index>,
    pub events: OwnEvents,
}

impl SwitchOff {
    /// Returns when the function is off and that is told, or when it need not be: it is off
    /// already, is gone, or was changed since, which has the last word. So an order that comes
    /// twice is followed once.
    pub async fn follow(&self, order: &Disable) {
        let mut is_told = false;
        let mut back_off = BACK_OFF_MIN;
        while let Err(error) = self.follow_once(order, &mut is_told).await {
            warn!(error = %with_causes(&error), project = %order.project, function = %order.function, "a function cannot be switched off yet");
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    async fn follow_once(&self, order: &Disable, is_told: &mut bool) -> Result<(), storage::Error> {
        let Some(function) = self.still_meant(order).await? else {
            debug!(project = %order.project, function = %order.function, "an order to switch off has nothing to do");
            return Ok(());
        };
        if !*is_told {
            // First, so that a crash in between tells it again, under the same id, and does not
            // leave it out.
            self.events.emit(&event_about(&function, order)).await;
            *is_told = true;
        }
        // It may have been changed while the event was on its way.
        let Some(mut function) = self.still_meant(order).await? else {
            return Ok(());
        };
        function.settings.disabled = Some(Disabled {
            reason: order.reason.clone(),
            at: order.at,
        });
        function.updated_at = now();
        let revision = match self.index.store().update_function(&function).await {
            Err(storage::Error::NotFound { .. }) => return Ok(()),
            stored => stored?,
        };
        metrics::function_disabled();
        warn!(project = %order.project, function = %order.function, reason = order.reason, revision, "function switched off");
        if let Err(error) = self.index.catch_up(revision).await {
            // It is stored; the loop that follows the registry will see it.
            warn!(error = %with_causes(&error), revision, "a change is not visible here yet");
        }
        Ok(())
    }

    /// The function, if it is as it was when its end was ordered.
    async fn still_meant(&self, order: &Disable) -> Result<Option<Function>, storage::Error> {
        let store = self.index.store();
        let function = store.function(&order.project, &order.function).await?;
        Ok(function.filter(|function| {
            function.revision == order.revision && function.settings.disabled.is_none()
        }))
    }
}
