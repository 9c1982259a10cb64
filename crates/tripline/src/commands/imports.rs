//! `tripline import` and `export`: files of other systems.

use std::io::{Read as _, Write as _};
use std::path::Path;

use protocol::imports::v1 as wire;
use serde::Serialize;

use super::packages::{ShownCreated, shown_created};
use crate::command_line::{Connection, Export, Import, Output};
use crate::failure::Failure;
use crate::output;

/// The server refused the input.
const REFUSED: u8 = 3;

/// A finding as printed, one a line.
#[derive(Debug, Serialize)]
struct ShownFinding<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    code: String,
    severity: String,
    json_pointer: String,
    message: String,
}

/// What an import came to.
#[derive(Debug, Serialize)]
struct ShownImport {
    package: String,
    version: u32,
    dry_run: bool,
    errors: usize,
    warnings: usize,
    triggers: Vec<String>,
    schedules: Vec<String>,
    created: Vec<ShownCreated>,
}

pub(crate) async fn import(options: Import, connection: &Connection) -> Result<(), Failure> {
    let request = wire::ImportRequest {
        kind: options.kind.as_str().to_owned(),
        package: options.package.clone(),
        file: read_file(&options.file)?.into(),
        dry_run: options.dry_run,
        lenient: options.lenient,
        functions: options.functions.into_iter().collect(),
    };
    let answer = connection.imports()?.import(request).await?.into_inner();
    let file = options.file.display().to_string();
    let (errors, warnings) = (answer.errors.len(), answer.warnings.len());
    let mut findings: Vec<wire::Finding> =
        answer.errors.into_iter().chain(answer.warnings).collect();
    findings.sort_by_key(|finding| (finding.line, finding.column));
    for finding in findings {
        print_finding(&file, finding, connection.output)?;
    }
    let shown = ShownImport {
        package: options.package,
        version: answer.version,
        dry_run: options.dry_run,
        errors,
        warnings,
        triggers: answer.triggers.into_iter().map(|one| one.name).collect(),
        schedules: answer.schedules.into_iter().map(|one| one.name).collect(),
        created: answer.created.into_iter().map(shown_created).collect(),
    };
    if errors > 0 {
        if connection.output == Output::Json {
            output::object(&shown)?;
        }
        return Err(Failure {
            message: format!("{file} has {errors} errors: nothing was installed"),
            exit_code: REFUSED,
        });
    }
    let version = match shown.version {
        0 => "none: a dry run".to_owned(),
        version => version.to_string(),
    };
    let fields = [
        ("package", shown.package.clone()),
        ("version", version),
        ("triggers", shown.triggers.join(", ")),
        ("schedules", shown.schedules.join(", ")),
        ("warnings", warnings.to_string()),
    ];
    output::one(connection.output, &shown, &fields)?;
    super::packages::print_created(&shown.created, connection.output)
}

fn print_finding(file: &str, finding: wire::Finding, output: Output) -> Result<(), Failure> {
    let shown = ShownFinding {
        file,
        line: finding.line,
        column: finding.column,
        code: finding.code,
        severity: finding.severity,
        json_pointer: finding.json_pointer,
        message: finding.message,
    };
    if output == Output::Json {
        return output::object(&shown);
    }
    let ShownFinding {
        line,
        column,
        code,
        severity,
        message,
        ..
    } = shown;
    output::line(&format!(
        "{file}:{line}:{column}: {severity} {code} {message}"
    ))
}

pub(crate) async fn export(options: Export, connection: &Connection) -> Result<(), Failure> {
    let request = wire::ExportRequest {
        kind: options.kind.as_str().to_owned(),
        package: options.package,
        version: options.version.unwrap_or_default(),
    };
    let answer = connection.imports()?.export(request).await?.into_inner();
    // Byte for byte: no line is added.
    let mut out = std::io::stdout().lock();
    let written = out.write_all(&answer.file).and_then(|()| out.flush());
    written.map_err(|error| Failure::local(format!("standard output cannot be written: {error}")))
}

/// A file's bytes, or those of standard input for `-`.
pub(super) fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| Failure::local(format!("standard input cannot be read: {error}")))?;
        return Ok(bytes);
    }
    std::fs::read(file)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))
}
