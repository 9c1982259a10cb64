//! Writes docs/conformance.md from the list of statements, the tests' names and a run's report.

use std::path::Path;
use std::{env, fs};

use anyhow::Context as _;
use harness::conformance::{find_tests, page, read_results, read_statements};

fn main() -> anyhow::Result<()> {
    let report = env::args()
        .nth(1)
        .context("usage: conformance-page REPORT (JUnit's form)")?;
    let report = fs::read_to_string(&report).with_context(|| format!("read {report}"))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("find the repository")?;
    let statements = fs::read_to_string(root.join("tests/conformance/statements.md"))
        .context("read the statements")?;
    let results = read_results(&report)?;
    let page = page(
        &read_statements(&statements)?,
        &find_tests(root)?,
        Some(&results),
    );
    let path = root.join("docs/conformance.md");
    fs::write(&path, page).with_context(|| format!("write {}", path.display()))
}
