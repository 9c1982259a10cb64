//! What is wrong with a file, or worth knowing, and where: code, JSON pointer, line and column.

use std::fmt;

/// So many findings are told; a file with more is not mended by reading them all.
const FINDINGS_MAX: usize = 1_000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is installed.
    Error,
    /// It is installed, though perhaps not as meant.
    Warning,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that a reader has to say about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable, for programs: `HOOK_DUP_PATH`.
    pub code: &'static str,
    pub severity: Severity,
    /// RFC 6901; empty for the whole document, and where the file is no JSON.
    pub pointer: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
}

/// `LINE:COLUMN: CODE message`.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            line,
            column,
            message,
            ..
        } = self;
        write!(formatter, "{line}:{column}: {code} {message}")
    }
}

/// Gathers findings while a file is read.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// With the byte each is about.
    findings: Vec<(usize, Finding)>,
    pub(crate) has_errors: bool,
}

impl<'a> Report<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(place, _)| place + 1);
        Self {
            text,
            lines: std::iter::once(0).chain(breaks).collect(),
            findings: Vec::new(),
            has_errors: false,
        }
    }

    pub(crate) fn error(&mut self, code: &'static str, at: &At, message: impl Into<String>) {
        self.add(code, Severity::Error, at, message.into());
    }

    pub(crate) fn warning(&mut self, code: &'static str, at: &At, message: impl Into<String>) {
        self.add(code, Severity::Warning, at, message.into());
    }

    fn add(&mut self, code: &'static str, severity: Severity, at: &At, message: String) {
        self.has_errors |= severity == Severity::Error;
        let is_first_error = severity == Severity::Error
            && !self
                .findings
                .iter()
                .any(|(_, found)| found.severity == Severity::Error);
        if self.findings.len() >= FINDINGS_MAX && !is_first_error {
            return;
        }
        let (line, column) = self.place(at.offset);
        let finding = Finding {
            code,
            severity,
            pointer: at.pointer.clone(),
            line,
            column,
            message,
        };
        self.findings.push((at.offset, finding));
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let end = self.text.floor_char_boundary(offset);
        let before = self.text.get(start..end).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// In the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|(offset, _)| *offset);
        self.findings
            .into_iter()
            .map(|(_, finding)| finding)
            .collect()
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct At {
    pub(crate) pointer: String,
    /// In bytes from the beginning.
    pub(crate) offset: usize,
}

impl At {
    pub(crate) fn offset(offset: usize) -> Self {
        Self {
            pointer: String::new(),
            offset,
        }
    }
}
