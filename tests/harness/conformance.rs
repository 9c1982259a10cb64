//! Which test holds which statement of the conformance list, read off the tests' names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use anyhow::{Context as _, bail, ensure};

/// What must hold, and what happens instead where no test holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `S3-05`
    pub number: String,
    pub text: String,
    /// `SEED`, `REAL`, `DOC` or `PROP`, and how they differ.
    pub origin: String,
    /// Empty where a test holds it.
    pub instead: String,
}

impl Statement {
    /// Stated by one of the five systems' own texts.
    pub fn is_seeds(&self) -> bool {
        self.origin.contains("SEED") && !self.origin.starts_with("PROP")
    }
}

/// A part of the list, such as `S1 schmuckliCloud`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub title: String,
    pub statements: Vec<Statement>,
}

/// A test as the source has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    pub name: String,
    /// From the root of the repository.
    pub file: String,
}

/// Tests by the number of the statement they hold.
pub type Held = BTreeMap<String, BTreeSet<Test>>;

/// Reads `tests/conformance/statements.md`.
///
/// # Errors
/// A row that cannot be read, or a number that is there twice.
pub fn read_statements(text: &str) -> anyhow::Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section {
                title: title.to_owned(),
                statements: Vec::new(),
            });
        } else if line.starts_with("| S") || line.starts_with("| X") {
            let statement = read_row(line).with_context(|| format!("the row {line:?}"))?;
            ensure!(
                seen.insert(statement.number.clone()),
                "{} is there twice",
                statement.number
            );
            let section = sections.last_mut().context("a row before any section")?;
            section.statements.push(statement);
        }
    }
    Ok(sections)
}

fn read_row(line: &str) -> anyhow::Result<Statement> {
    let inside = line
        .strip_prefix("| ")
        .and_then(|rest| rest.strip_suffix('|'))
        .context("begins or ends otherwise")?;
    let (number, rest) = inside.split_once(" | ").context("has no statement")?;
    let (rest, instead) = rest.rsplit_once(" |").context("has no last column")?;
    let (text, origin) = rest.rsplit_once(" | ").context("has no origin")?;
    Ok(Statement {
        number: number.to_owned(),
        text: text.to_owned(),
        origin: origin.to_owned(),
        instead: instead.trim().to_owned(),
    })
}

/// Finds the tests below `root` whose names begin with numbers of statements.
///
/// # Errors
/// A file cannot be read.
pub fn find_tests(root: &Path) -> anyhow::Result<Held> {
    let mut held = Held::new();
    for folder in ["crates", "tests"] {
        visit(&root.join(folder), &mut |path, text| {
            let file = path.strip_prefix(root).unwrap_or(path);
            let file = file.to_string_lossy().replace('\\', "/");
            for name in tests_in(text, file.contains("/tests/")) {
                for number in numbers_of(name) {
                    held.entry(number).or_default().insert(Test {
                        name: name.to_owned(),
                        file: file.clone(),
                    });
                }
            }
        })?;
    }
    Ok(held)
}

fn visit(folder: &Path, found: &mut dyn FnMut(&Path, &str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            visit(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found(&path, &fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Names of the functions that stand below a `#[test]` or `#[tokio::test…]`, or belong to a suite
/// that is run on several grounds.
fn tests_in(text: &str, may_be_suite: bool) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if let Some(name) = line.strip_prefix("pub(crate) async fn ")
            && may_be_suite
        {
            names.extend(name.split('(').next());
        }
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && !line.starts_with('#') {
            let line = line.strip_prefix("async ").unwrap_or(line);
            if let Some(name) = line.strip_prefix("fn ") {
                names.extend(name.split('(').next());
                is_test = false;
            }
        }
    }
    names
}

/// `s2_10_s2_12_retries_are_even` holds `S2-10` and `S2-12`.
pub fn numbers_of(name: &str) -> Vec<String> {
    let mut words = name.split('_').peekable();
    let mut numbers = Vec::new();
    while let Some(system) = words.next() {
        let is_system = matches!(system, "s1" | "s2" | "s3" | "s4" | "s5" | "x");
        let number = words
            .peek()
            .filter(|word| word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_digit()));
        match number {
            Some(number) if is_system => {
                numbers.push(format!("{}-{number}", system.to_uppercase()));
                words.next();
            }
            _ => break,
        }
    }
    numbers
}

/// What became of each test in a run, by the name of its function.
pub type Results = BTreeMap<String, bool>;

/// Reads the report of a run in JUnit's form.
///
/// # Errors
/// It is none, or holds no test.
pub fn read_results(junit: &str) -> anyhow::Result<Results> {
    let document = roxmltree::Document::parse(junit).context("read the report of the run")?;
    let mut results = Results::new();
    let cases = document.descendants();
    for case in cases.filter(|node| node.has_tag_name("testcase")) {
        let path = case.attribute("name").unwrap_or_default();
        let name = path.rsplit("::").next().unwrap_or(path);
        let passed = !case
            .children()
            .any(|node| node.has_tag_name("failure") || node.has_tag_name("error"));
        *results.entry(name.to_owned()).or_insert(true) &= passed;
    }
    if results.is_empty() {
        bail!("the report holds no test");
    }
    Ok(results)
}

/// Writes `docs/conformance.md`; without results every test counts as passed, as in a repository
/// whose tests do.
pub fn page(sections: &[Section], held: &Held, results: Option<&Results>) -> String {
    let all = || sections.iter().flat_map(|section| &section.statements);
    let tested = |statement: &&Statement| held.contains_key(&statement.number);
    let seeds = all().filter(|statement| statement.is_seeds());
    let mut text = format!(
        "# Conformance\n\nWhat \"works\" means for each of the five systems that tripline unites, and \
         which test holds it. Written by `make conformance` from\n\
         [tests/conformance/statements.md](../tests/conformance/statements.md) and a run of the tests; \
         a test keeps it true.\n\n{} of {} statements are held by tests, {} of {} of those that the \
         systems' own texts make (SEED).\n",
        all().filter(tested).count(),
        all().count(),
        seeds.clone().filter(tested).count(),
        seeds.count(),
    );
    for section in sections {
        text.push_str(&format!(
            "\n## {}\n\n| # | statement | origin | test, or what happens instead | result |\n|---|---|---|---|---|\n",
            section.title
        ));
        for statement in &section.statements {
            let (tests, result) = row_end(statement, held, results);
            text.push_str(&format!(
                "| {} | {} | {} | {tests} | {result} |\n",
                statement.number, statement.text, statement.origin
            ));
        }
    }
    text
}

fn row_end(
    statement: &Statement,
    held: &Held,
    results: Option<&Results>,
) -> (String, &'static str) {
    let Some(tests) = held.get(&statement.number) else {
        return (statement.instead.clone(), "not held");
    };
    let named: Vec<_> = tests
        .iter()
        .map(|test| format!("[{}](../{})", test.name, test.file))
        .collect();
    let mut shown = named.join("<br>");
    if !statement.instead.is_empty() {
        shown = format!("{shown}<br>{}", statement.instead);
    }
    let passed = |test: &Test| results.is_none_or(|all| all.get(&test.name) == Some(&true));
    let result = match tests.iter().all(passed) {
        true => "passed",
        false => "failed",
    };
    (shown, result)
}
