//! All triggers, arranged so that an event finds its own among a hundred thousand.
//!
//! Each trigger lies at the end of one or more paths of steps: its project, then the segments of
//! its type pattern, then those of its subject pattern, then the first bytes of its prefix and
//! suffix. A step is a literal or a wildcard. An event walks all paths that it can satisfy, so
//! what it visits depends on the shapes of the patterns, hardly on their number.
//!
//! **Invariant:** the paths only propose; [`Trigger::matches`] decides. A path may thus leave
//! out what is tedious to arrange (parts of a glob, long prefixes), and nodes are found by a
//! keyed hash of their path: if two paths collide, an event looks at a trigger in vain.

mod path;

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;

use crate::event::Event;
use crate::filter::Facts;
use crate::name::{ProjectName, TriggerName};
use crate::pattern::Captures;
use crate::trigger::{Decision, Trigger};
use path::Keys;

/// The triggers of all projects, to be asked which of them an event calls.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    triggers: HashMap<(ProjectName, TriggerName), Arc<Trigger>>,
    keys: Keys<RandomState>,
    nodes: HashMap<path::Key, Node>,
}

/// What an event comes to among all triggers, by their names.
#[derive(Debug, Default)]
pub struct Matches {
    /// With what their patterns captured.
    pub called: Vec<(Arc<Trigger>, Captures)>,
    /// With the reason why their filter cannot be answered: these call nobody.
    pub failed: Vec<(Arc<Trigger>, String)>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// How many paths lead here or through here; the node goes with the last.
    paths: usize,
    /// The triggers whose path ends here, by address.
    triggers: Vec<Arc<Trigger>>,
}

impl Matcher {
    /// Takes the trigger up, in place of the one of the same project and name, which it returns.
    pub fn insert(&mut self, trigger: Arc<Trigger>) -> Option<Arc<Trigger>> {
        let replaced = self.remove(&trigger.project, &trigger.name);
        if trigger.is_enabled {
            self.add_paths(&trigger);
        }
        self.triggers
            .insert((trigger.project.clone(), trigger.name.clone()), trigger);
        replaced
    }

    /// Forgets the trigger and returns it.
    pub fn remove(&mut self, project: &ProjectName, name: &TriggerName) -> Option<Arc<Trigger>> {
        let trigger = self.triggers.remove(&(project.clone(), name.clone()))?;
        if trigger.is_enabled {
            self.remove_paths(&trigger);
        }
        Some(trigger)
    }

    pub fn get(&self, project: &ProjectName, name: &TriggerName) -> Option<&Arc<Trigger>> {
        self.triggers.get(&(project.clone(), name.clone()))
    }

    pub fn len(&self) -> usize {
        self.triggers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.triggers.is_empty()
    }

    /// The triggers that the event calls, by name, and what their patterns captured.
    pub fn matches(&self, event: &Event) -> Vec<(Arc<Trigger>, Captures)> {
        self.decide(event).called
    }

    /// The triggers that the event calls, and those whose filter cannot be answered.
    pub fn decide(&self, event: &Event) -> Matches {
        let mut candidates: Vec<&Arc<Trigger>> = Vec::new();
        self.keys.visit(event, &mut |key| {
            let node = self.nodes.get(&key);
            candidates.extend(node.iter().flat_map(|node| &node.triggers));
            node.is_some()
        });
        // A trigger that selects types by several patterns may have been found by each.
        candidates.sort_unstable_by_key(|trigger| (&trigger.name, Arc::as_ptr(trigger)));
        candidates.dedup_by(|one, other| Arc::ptr_eq(one, other));
        // Made as far as a filter asks for it, and for all of them once.
        let facts = Facts::of(event);
        let mut matches = Matches::default();
        for trigger in candidates {
            match trigger.decide(event, &facts) {
                Decision::No => {}
                Decision::Yes(captures) => {
                    matches.called.push((Arc::clone(trigger), captures));
                }
                Decision::FilterFailed(reason) => {
                    matches.failed.push((Arc::clone(trigger), reason));
                }
            }
        }
        matches
    }

    fn add_paths(&mut self, trigger: &Arc<Trigger>) {
        for path in self.keys.paths(trigger) {
            for key in &path {
                self.nodes.entry(*key).or_default().paths += 1;
            }
            let end = path.last().and_then(|key| self.nodes.get_mut(key));
            if let Some(triggers) = end.map(|node| &mut node.triggers)
                && let Err(place) = place_of(trigger, triggers)
            {
                triggers.insert(place, Arc::clone(trigger));
            }
        }
    }

    fn remove_paths(&mut self, trigger: &Arc<Trigger>) {
        for path in self.keys.paths(trigger) {
            let end = path.last().and_then(|key| self.nodes.get_mut(key));
            if let Some(triggers) = end.map(|node| &mut node.triggers)
                && let Ok(place) = place_of(trigger, triggers)
            {
                triggers.remove(place);
            }
            for key in &path {
                if let Some(node) = self.nodes.get_mut(key) {
                    node.paths -= 1;
                    if node.paths == 0 {
                        self.nodes.remove(key);
                    }
                }
            }
        }
    }
}

/// Where the trigger is among these, or where it belongs.
fn place_of(trigger: &Arc<Trigger>, triggers: &[Arc<Trigger>]) -> Result<usize, usize> {
    triggers.binary_search_by_key(&Arc::as_ptr(trigger), Arc::as_ptr)
}

#[cfg(test)]
mod tests;
