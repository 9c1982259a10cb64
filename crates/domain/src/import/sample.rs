//! A place for files to go to, for tests of their readers.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Finding, Severity, Target};

/// Package `shop`, with these functions.
pub(crate) fn target(functions: &[&str]) -> Target {
    let functions = functions.iter().map(|name| {
        let full = name.contains('/').then(|| (*name).to_owned());
        let full = full.unwrap_or_else(|| format!("shop/{name}"));
        let function = full.parse().unwrap();
        (full, function)
    });
    Target {
        project: "acme".parse().unwrap(),
        package: "shop".parse().unwrap(),
        functions: functions.collect(),
        renamed: BTreeMap::new(),
        is_lenient: false,
        now: Timestamp::from_second(1_795_000_000).unwrap(),
    }
}

/// What was found: `line:column code pointer`.
pub(crate) fn shown(findings: &[Finding]) -> Vec<String> {
    let shown = findings.iter().map(|finding| {
        let Finding {
            code,
            line,
            column,
            pointer,
            ..
        } = finding;
        format!("{line}:{column} {code} {pointer}")
    });
    shown.collect()
}

pub(crate) fn errors(findings: &[Finding]) -> Vec<&'static str> {
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| finding.code).collect()
}
