//! The conformance list and its page say what the tests really hold.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::fs;
use std::path::{Path, PathBuf};

use harness::conformance::{Held, Section, find_tests, numbers_of, page, read_statements};

#[test]
fn every_statement_has_a_test_or_says_what_happens_instead() {
    let held = find_tests(&root()).unwrap();
    let sections = statements();
    let statements = sections.iter().flat_map(|section| &section.statements);
    let silent: Vec<_> = statements
        .filter(|statement| !held.contains_key(&statement.number) && statement.instead.is_empty())
        .map(|statement| format!("{} {}", statement.number, statement.text))
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_number_in_a_tests_name_is_a_statements() {
    let sections = statements();
    let known = |number: &String| {
        let mut statements = sections.iter().flat_map(|section| &section.statements);
        statements.any(|statement| statement.number == *number)
    };
    let held: Held = find_tests(&root()).unwrap();
    let unknown: Vec<_> = held.iter().filter(|(number, _)| !known(number)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_page_is_what_the_tests_say() {
    let path = root().join("docs/conformance.md");
    let written = fs::read_to_string(path).unwrap();
    let now = page(&statements(), &find_tests(&root()).unwrap(), None);
    // Line by line, so that the one that differs is shown.
    for (written, now) in written.lines().zip(now.lines()) {
        assert_eq!(written, now, "`make conformance` writes the page anew");
    }
    assert_eq!(written.lines().count(), now.lines().count());
}

#[test]
fn a_tests_name_may_begin_with_several_numbers() {
    assert_eq!(numbers_of("s2_10_s2_12_even"), ["S2-10", "S2-12"]);
    assert_eq!(numbers_of("x_03_binary"), ["X-03"]);
    assert!(numbers_of("r9_signs").is_empty());
    assert!(numbers_of("s2_fast").is_empty());
}

fn statements() -> Vec<Section> {
    let text = fs::read_to_string(root().join("tests/conformance/statements.md")).unwrap();
    read_statements(&text).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
