//! Printing answers: tables for people, one JSON object a line for programs.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::command_line::Output;
use crate::failure::Failure;

/// Something that can be a row of a table, and a JSON object.
pub(crate) trait Row: Serialize {
    const HEADINGS: &'static [&'static str];

    fn cells(&self) -> Vec<String>;
}

/// Prints many rows.
pub(crate) fn rows<T: Row>(output: Output, rows: &[T]) -> Result<(), Failure> {
    match output {
        Output::Json => rows.iter().try_for_each(object),
        Output::Table if rows.is_empty() => line("nothing found"),
        Output::Table => {
            let mut table = empty_table();
            table.set_header(T::HEADINGS);
            for row in rows {
                table.add_row(row.cells());
            }
            line(&table.trim_fmt())
        }
    }
}

/// Prints one thing, as lines of name and value or as one JSON object.
pub(crate) fn one<T: Serialize>(
    output: Output,
    value: &T,
    fields: &[(&str, String)],
) -> Result<(), Failure> {
    match output {
        Output::Json => object(value),
        Output::Table => {
            let mut table = empty_table();
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
                table.add_row([(*name).to_owned(), value.clone()]);
            }
            line(&table.trim_fmt())
        }
    }
}

/// Prints one JSON object on one line.
pub(crate) fn object<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| {
        Failure::local(format!("the answer cannot be written as JSON: {error}"))
    })?;
    line(&text)
}

/// Prints a line. A reader that went away (`| head`) ends the program quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            #[expect(clippy::exit, reason = "nobody reads any more")]
            std::process::exit(0)
        }
        Err(error) => Err(Failure::local(format!(
            "standard output cannot be written: {error}"
        ))),
    }
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}
