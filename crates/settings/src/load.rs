//! Defaults < file < environment: lays the three over each other and reads the result.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::Faults;
use crate::read::{Notes, Problem, Reader, UnknownKey};
use crate::secret::MASK;
use crate::tree::{Node, Place, Value};
use crate::{environment, file};

/// Nobody mends more than this at once, and the search for faults must end.
const FAULTS_MAX: usize = 100;

/// Reads the settings of a service; `T` is the whole document. All faults are given at once.
///
/// `T::default()` must survive being written and read again, but for secrets: their fields
/// need a default of their own (`#[serde(default)]` on the struct).
///
/// # Errors
/// Every fault of file and environment, as one list.
pub fn load<T: DeserializeOwned + Default + Serialize>(
    service: &str,
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<T, Faults> {
    load_beside(service, file, env, &[])
}

/// As [`load`], from a file and an environment that other services read too: the sections named
/// in `others` are passed over where `T` has none of that name.
///
/// # Errors
/// Every fault of file and environment, as one list.
pub fn load_beside<T: DeserializeOwned + Default + Serialize>(
    service: &str,
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    others: &[&str],
) -> Result<T, Faults> {
    let mut faults = Faults::new(service);
    let defaults = match toml::Value::try_from(T::default()) {
        Ok(value) => without_masks(Node::from_toml(value, &Place::Default)),
        Err(error) => {
            faults.add(format!("defaults: {error}"));
            return Err(faults);
        }
    };
    let mut given = Node::empty_table(Place::Default);
    if let Some(read) = file.and_then(|path| file::read(path, &mut faults)) {
        given.overlay(read);
    }
    given.overlay(environment::read(env, &mut faults));
    for other in others {
        let path = [(*other).to_owned()];
        if defaults.find(&path).is_none() {
            given.remove(&path);
        }
    }
    match Search::new(&defaults, given).read(&mut faults) {
        Some(settings) => faults.or_ok(settings),
        None => Err(faults),
    }
}

/// A masked default would be read back as the mask.
fn without_masks(mut node: Node) -> Node {
    if let Value::Table(table) = &mut node.value {
        table.retain(|_, node| {
            !matches!(&node.value, Value::Scalar(toml::Value::String(text)) if text.contains(MASK))
        });
        for child in table.values_mut() {
            let taken = std::mem::replace(child, Node::empty_table(Place::Default));
            *child = without_masks(taken);
        }
    }
    node
}

/// Reads again and again, taking out each refused value, until nothing is refused.
struct Search<'a> {
    defaults: &'a Node,
    /// The defaults without those that stand in the way of another choice.
    base: Node,
    given: Node,
    first: Option<(Vec<String>, Problem)>,
}

impl<'a> Search<'a> {
    fn new(defaults: &'a Node, given: Node) -> Self {
        Self {
            defaults,
            base: defaults.clone(),
            given,
            first: None,
        }
    }

    fn read<T: DeserializeOwned>(mut self, faults: &mut Faults) -> Option<T> {
        for _ in 0..FAULTS_MAX {
            let mut merged = self.base.clone();
            merged.overlay(self.given.clone());
            let notes = Notes::default();
            match T::deserialize(Reader::new(&merged, &notes)) {
                Ok(settings) => {
                    notes
                        .unknown
                        .take()
                        .iter()
                        .for_each(|unknown| faults.add_unknown(unknown));
                    return Some(settings);
                }
                Err(problem) => {
                    let path = notes.failed_at.take().unwrap_or_default();
                    if !self.set_aside(&path, problem, faults) {
                        notes
                            .unknown
                            .take()
                            .iter()
                            .for_each(|unknown| faults.add_unknown(unknown));
                        return None;
                    }
                }
            }
        }
        faults.add(format!(
            "more than {FAULTS_MAX} faults, the rest is not listed"
        ));
        None
    }

    /// Takes out what was refused; false if there is nothing to take out.
    fn set_aside(&mut self, path: &[String], problem: Problem, faults: &mut Faults) -> bool {
        let Some(node) = self.given.find(path).cloned() else {
            faults.add_problem(path, None, &problem);
            return false;
        };
        let is_table = matches!(node.value, Value::Table(_));
        // A table may be refused only because defaults of another choice are mixed into it.
        if is_table && !path.is_empty() && self.base.remove(path).is_some() {
            self.first = Some((path.to_vec(), problem));
            return true;
        }
        let problem = match (self.first.take(), problem) {
            (Some((first_path, first)), Problem::Missing(_)) if first_path == path => first,
            (_, problem) => problem,
        };
        self.report(path, &node, &problem, faults);
        let without = match &problem {
            Problem::UnknownKey { key, .. } if is_table => {
                path.iter().cloned().chain([key.clone()]).collect()
            }
            _ => path.to_vec(),
        };
        if let Some(default) = self.defaults.find(path) {
            self.base.put(path, default.clone());
        }
        self.given.remove(&without).is_some()
    }

    fn report(&self, path: &[String], node: &Node, problem: &Problem, faults: &mut Faults) {
        match problem {
            Problem::UnknownKey { key, allowed } => {
                let at: Vec<String> = path.iter().cloned().chain([key.clone()]).collect();
                let place = self
                    .given
                    .find(&at)
                    .map_or(&node.place, |node| &node.place)
                    .clone();
                let (parent, key, allowed) = (path.to_vec(), key.clone(), allowed.clone());
                faults.add_unknown(&UnknownKey {
                    parent,
                    key,
                    place,
                    allowed,
                });
            }
            problem => faults.add_problem(path, Some(node), problem),
        }
    }
}
