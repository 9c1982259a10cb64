//! Makes names of what other systems call their triggers and jobs.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::name::Name;

/// A name may have so many characters.
const LENGTH_MAX: usize = 63;

/// Of a name that cannot stand as it is, so much is kept before the mark that makes it unique.
const KEPT_MAX: usize = 54;

/// Names given in one file; no two are the same.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: BTreeSet<Name>,
}

impl Names {
    /// The text itself, if it is a name that nothing else has.
    pub(crate) fn take(&mut self, text: &str) -> Option<Name> {
        let name: Name = text.parse().ok()?;
        self.taken.insert(name.clone()).then_some(name)
    }

    /// A name that reads like these parts. The first of two that read alike has the plain one.
    pub(crate) fn make(&mut self, parts: &[&str]) -> Name {
        let plain = plain(parts);
        if plain.len() <= LENGTH_MAX
            && let Some(name) = self.take(&plain)
        {
            return name;
        }
        let kept = plain.get(..plain.len().min(KEPT_MAX)).unwrap_or_default();
        let kept = match kept.trim_end_matches('-') {
            "" => "imported",
            kept => kept,
        };
        let mut round = 0_u32;
        loop {
            if let Some(name) = self.take(&format!("{kept}-{}", mark(parts, round))) {
                return name;
            }
            round = round.wrapping_add(1);
        }
    }
}

/// Eight characters that depend on all of the parts.
fn mark(parts: &[&str], round: u32) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.chain_update(round.to_be_bytes()).finalize();
    digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// In lower case, with one `-` wherever something else stood.
fn plain(parts: &[&str]) -> String {
    let mut plain = String::new();
    for part in parts {
        for symbol in part.chars().flat_map(char::to_lowercase) {
            if symbol.is_ascii_lowercase() || (symbol.is_ascii_digit() && !plain.is_empty()) {
                plain.push(symbol);
            } else if !plain.is_empty() && !plain.ends_with('-') {
                plain.push('-');
            }
        }
        if !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
    }
    plain.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_like_what_it_is_made_of_and_no_two_are_the_same() {
        let mut names = Names::default();
        assert_eq!(
            names
                .make(&["kii", "myBucket", "DATA_OBJECT_CREATED"])
                .as_str(),
            "kii-mybucket-data-object-created"
        );
        let other = names.make(&["kii", "mybucket", "DATA_OBJECT_CREATED"]);
        assert!(
            other
                .as_str()
                .starts_with("kii-mybucket-data-object-created-"),
            "{other}"
        );
        let again = Names::default().make(&["kii", "日本"]);
        assert_eq!(again.as_str(), "kii");
        for odd in ["", "7", "--", "é", &"long".repeat(100)] {
            let name = names.make(&[odd]);
            assert!(name.as_str().parse::<Name>().is_ok(), "{name}");
        }
        assert_eq!(names.take("kii-mybucket-data-object-created"), None);
    }

    #[test]
    fn the_same_file_gives_the_same_names() {
        let make = || {
            let mut names = Names::default();
            (
                names.make(&["a", "B"]),
                names.make(&["A", "b"]),
                names.make(&["A", "b"]),
            )
        };
        assert_eq!(make(), make());
        let (one, two, three) = make();
        assert!(one != two && two != three && one != three);
    }
}
