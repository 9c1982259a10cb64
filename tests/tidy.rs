//! Rules about the repository itself: every file says what it is for, and no stub stays behind.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this is asked whether it is two.
const LINES_MAX: usize = 600;

/// Longer ones that are one thing, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// What must not stay in the code, in two halves, so that this file does not hold it.
const STUBS: &[(&str, &str)] = &[("todo", "!("), ("unimplemented", "!("), ("#[ig", "nore")];

#[test]
fn every_file_opens_with_a_sentence_that_says_what_it_is_for() {
    let silent: Vec<_> = rust_files()
        .into_iter()
        .filter(|file| {
            let opening = file.text.lines().next().unwrap_or_default();
            !opening.starts_with("//! ") || opening.contains("To be written")
        })
        .map(|file| file.path)
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn no_file_is_called_mod() {
    let nameless: Vec<_> = paths().into_iter().filter(|path| is_module(path)).collect();
    assert_eq!(
        nameless,
        Vec::<String>::new(),
        "name it after its folder, beside it"
    );
}

#[test]
fn no_file_has_become_two() {
    let mut faults = Vec::new();
    for file in rust_files() {
        let lines = file.text.lines().count();
        let listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if !file.path.starts_with("crates/") || !file.path.contains("/src/") {
            continue;
        }
        if lines > LINES_MAX && !listed {
            faults.push(format!("{}: {lines} lines", file.path));
        }
        if lines <= LINES_MAX && listed {
            faults.push(format!(
                "{}: no longer long, take it off the list",
                file.path
            ));
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn no_stub_and_no_ignored_test_stays_behind() {
    let faults = lines_with(&rust_files(), |line| {
        STUBS
            .iter()
            .any(|(left, right)| line.contains(&format!("{left}{right}")))
    });
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn no_test_sleeps() {
    let tests: Vec<_> = rust_files()
        .into_iter()
        .filter(|file| file.path.starts_with("tests/") || file.path.contains("/tests/"))
        .collect();
    let nap = ["sle", "ep("].concat();
    let faults = lines_with(&tests, |line| line.contains(&nap));
    assert_eq!(
        faults,
        Vec::<String>::new(),
        "wait with testkit::eventually"
    );
}

#[test]
fn no_path_of_a_workplace_stands_in_a_file() {
    let workplace = ["/wo", "rk/"].concat();
    let files: Vec<_> = paths().into_iter().filter_map(read_text).collect();
    let faults = lines_with(&files, |line| line.contains(&workplace));
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn every_path_of_the_one_minute_table_exists() {
    let contributing = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let table = contributing
        .split("## One minute to the file")
        .nth(1)
        .unwrap();
    let table = table.split("\n## ").next().unwrap();
    let named: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|word| word.contains('/'))
        .collect();
    assert!(named.len() > 5, "the table has gone: {named:?}");
    let missing: Vec<_> = named
        .into_iter()
        .filter(|path| !exists(&root(), path))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_documents_a_newcomer_looks_for_are_there() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
    ];
    let missing: Vec<_> = documents
        .into_iter()
        .filter(|name| !root().join(name).exists())
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_remote_procedure_says_what_it_does() {
    let mut silent = Vec::new();
    let files = paths().into_iter().filter(|path| path.ends_with(".proto"));
    for file in files.filter_map(read_text) {
        let mut line_before = "";
        for line in file.text.lines().map(str::trim) {
            if line.starts_with("rpc ") && !line_before.starts_with("//") {
                silent.push(format!("{}: {line}", file.path));
            }
            line_before = line;
        }
    }
    assert_eq!(silent, Vec::<String>::new());
}

struct TextFile {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every file of the repository, by its path from the root; hidden and built ones left out.
fn paths() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if path.is_file() {
                let relative = path.strip_prefix(root()).unwrap();
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<TextFile> {
    paths()
        .into_iter()
        .filter(|path| path.ends_with(".rs"))
        .filter_map(read_text)
        .collect()
}

/// Nothing for a file that is not text.
fn read_text(path: String) -> Option<TextFile> {
    let text = fs::read_to_string(root().join(&path)).ok()?;
    Some(TextFile { path, text })
}

fn is_module(path: &str) -> bool {
    Path::new(path)
        .file_name()
        .is_some_and(|name| name == "mod.rs")
}

fn lines_with(files: &[TextFile], is_fault: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            if is_fault(line) {
                faults.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
            }
        }
    }
    faults
}

/// Whether something is there by this path; a part like `<service>.rs` stands for any name.
fn exists(folder: &Path, path: &str) -> bool {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if first.is_empty() {
        return true;
    }
    let (Some((before, _)), Some((_, after))) = (first.split_once('<'), first.split_once('>'))
    else {
        return folder.join(first).exists() && exists(&folder.join(first), rest);
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(before) && name.ends_with(after) && exists(&entry.path(), rest)
    })
}
