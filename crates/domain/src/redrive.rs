//! Deliveries that an operator orders: tried again after they had ended, or an event of the past
//! brought to a function it was never owed to.
//!
//! Such a delivery has a generation above 0. It is owed to its function, whatever becomes of the
//! trigger it was made by: that lends its retry policy and its format as long as it exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::delivery::Target;
use crate::event::Event;
use crate::function::Function;
use crate::id::{DeliveryId, EventId};
use crate::name::{FunctionName, ProjectName, TriggerName};
use crate::pattern::Captures;
use crate::registry::Registry;
use crate::retry::RetryPolicy;
use crate::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};

/// The delivery of an event to a function that no trigger made: the same each time, so that
/// somebody who received it before can tell.
pub fn direct_delivery(event: EventId, function: &FunctionName) -> DeliveryId {
    // No trigger's name holds a colon.
    DeliveryId::derive(event, &format!("function:{function}"))
}

impl Target {
    /// Whether an operator ordered it, rather than a trigger made it.
    pub const fn is_ordered(&self) -> bool {
        self.generation > 0
    }
}

impl Registry {
    /// The rule by which a delivery is made; `None` when its trigger is gone, and it with it.
    pub fn rule_of(&self, project: &ProjectName, target: &Target) -> Option<Arc<Trigger>> {
        if let Some(trigger) = self.trigger(project, &target.trigger) {
            return Some(Arc::clone(trigger));
        }
        let function = self.function(project, &target.function)?;
        target
            .is_ordered()
            .then(|| Arc::new(Trigger::direct(function, target.trigger.clone())))
    }

    /// The first trigger of a function, by name: what an operator orders of it goes by its rules.
    pub fn first_trigger_of(
        &self,
        project: &ProjectName,
        function: &FunctionName,
    ) -> Option<&Arc<Trigger>> {
        self.triggers()
            .filter(|trigger| trigger.project == *project && trigger.function == *function)
            .min_by(|one, other| one.name.cmp(&other.name))
    }
}

impl Trigger {
    /// The rule for deliveries to a function that no trigger speaks for: the defaults.
    pub fn direct(function: &Function, name: TriggerName) -> Self {
        Self {
            project: function.project.clone(),
            name,
            function: function.name.clone(),
            is_enabled: true,
            on: Vec::new(),
            subject: None,
            prefix: None,
            suffix: None,
            options: BTreeMap::new(),
            filter: None,
            format: None,
            template: None,
            retry: RetryPolicy::default(),
            ordering: Ordering::default(),
            backlog: Backlog::default(),
            depth_max: DEPTH_MAX,
            script: None,
            created_at: function.created_at,
            updated_at: function.updated_at,
            revision: function.revision,
        }
    }

    /// What its patterns capture from the event, as far as they match.
    pub fn captures_of(&self, event: &Event) -> Captures {
        self.captures(event).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;
    use crate::registry::{Change, Update};

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let other = Trigger {
            function: "welcome".parse().unwrap(),
            ..sample::trigger("another")
        };
        registry.apply(Update {
            revision: 1,
            is_snapshot: true,
            changes: vec![
                Change::Function(sample::function("welcome")),
                Change::Function(sample::function("lonely")),
                Change::Trigger(sample::trigger("welcome")),
                Change::Trigger(other),
            ],
        });
        registry
    }

    fn target(trigger: &str, function: &str, generation: u32) -> Target {
        let eid = sample::event(1).eid;
        Target {
            delivery: DeliveryId::derive(eid, trigger),
            trigger: trigger.parse().unwrap(),
            function: function.parse().unwrap(),
            captures: Captures::default(),
            next_attempt: 1,
            generation,
            revision: 1,
            is_held: false,
        }
    }

    #[test]
    fn what_an_operator_ordered_outlives_its_trigger_but_not_its_function() {
        let registry = registry();
        let project = "default".parse().unwrap();
        let rule = |trigger, function, generation| {
            let rule = registry.rule_of(&project, &target(trigger, function, generation));
            rule.map(|trigger| trigger.name.to_string())
        };
        assert_eq!(rule("welcome", "welcome", 0).as_deref(), Some("welcome"));
        assert_eq!(rule("deleted", "welcome", 0), None);
        assert_eq!(rule("deleted", "welcome", 1).as_deref(), Some("deleted"));
        assert_eq!(rule("deleted", "gone", 1), None);
    }

    #[test]
    fn the_first_trigger_speaks_for_its_function() {
        let registry = registry();
        let project = "default".parse().unwrap();
        let first = |function: &str| {
            let first = registry.first_trigger_of(&project, &function.parse().unwrap());
            first.map(|trigger| trigger.name.to_string())
        };
        assert_eq!(first("welcome").as_deref(), Some("another"));
        assert_eq!(first("lonely"), None);
    }

    #[test]
    fn an_event_is_brought_to_a_function_as_one_delivery_that_no_trigger_makes() {
        let event = sample::event(1).eid;
        let name = "welcome".parse().unwrap();
        assert_eq!(direct_delivery(event, &name), direct_delivery(event, &name));
        assert_ne!(
            direct_delivery(event, &name),
            DeliveryId::derive(event, "welcome")
        );
        let other = sample::event(2).eid;
        assert_ne!(direct_delivery(event, &name), direct_delivery(other, &name));
    }
}
