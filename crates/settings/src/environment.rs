//! Reads variables like `TRIPLINE__DELIVERY_WORKER__RETRY__ATTEMPTS_MAX` into the tree.

use crate::fault::Faults;
use crate::tree::{Node, Place, Value};

/// Two underscores separate levels, so that a single one may be part of a name.
const SEPARATOR: &str = "__";
const PREFIX: &str = "TRIPLINE__";

/// The environment of this process, of which only our own names matter.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        // A value that is no text becomes one that its type refuses, instead of being missed.
        Some((name, value.to_string_lossy().into_owned()))
    })
}

pub(crate) fn read(
    environment: impl Iterator<Item = (String, String)>,
    faults: &mut Faults,
) -> Node {
    let mut variables: Vec<_> = environment
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    // Sorted, so that two variables that exclude each other do so the same way every time.
    variables.sort();
    let mut root = Node::empty_table(Place::Default);
    for (name, text) in variables {
        let path: Vec<String> = name
            .strip_prefix(PREFIX)
            .unwrap_or_default()
            .split(SEPARATOR)
            .map(str::to_ascii_lowercase)
            .collect();
        if path.iter().any(String::is_empty) {
            faults.add(format!(
                "variable {name}: a level between two `{SEPARATOR}` is empty"
            ));
        } else if let Some(other) = in_the_way(&root, &path) {
            faults.add(format!(
                "variable {name}: excludes {other}, which sets the level above"
            ));
        } else {
            let place = Place::Variable(name);
            root.put(
                &path,
                Node {
                    value: Value::Text(text),
                    place,
                },
            );
        }
    }
    root
}

/// The variable that already gave a plain value to a level this path leads through.
fn in_the_way(root: &Node, path: &[String]) -> Option<Place> {
    let found = root.find(path)?;
    matches!(found.value, Value::Text(_)).then(|| found.place.clone())
}

/// How a key would be written as a variable.
pub(crate) fn variable_name(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join(SEPARATOR).to_ascii_uppercase())
}
