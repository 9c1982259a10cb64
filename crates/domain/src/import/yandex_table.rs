//! Reads a trigger table of extremum's functions-api: trigger ids, each with the functions it calls.
//!
//! ```text
//! storage.s3-for-trigger.delete:
//!     - my-package.number-func
//! event-queue:
//!     - my-package.other-func
//! unused: []
//! ```

use percent_encoding::utf8_percent_encode;

use super::TRIGGERS_MAX;
use super::finding::{At, Report};
use super::yandex::{PLAIN, Reader};
use crate::event_type::EventType;

/// What a trigger id stands for.
enum Source<'a> {
    Storage { bucket: &'a str, verb: &'a str },
    Queue(&'a str),
}

pub(super) fn read(text: &str, reader: &mut Reader<'_>, report: &mut Report<'_>) {
    let mut source: Option<Source<'_>> = None;
    let mut has_id = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let offset = start + line.len() - line.trim_start().len();
        let at = At::offset(offset);
        start += line.len();
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(entry) = content.strip_prefix('-') {
            match &source {
                Some(source) => read_entry(entry.trim(), source, &at, reader, report),
                // Its id was told already.
                None if has_id => {}
                None => report.error("YC_TABLE", &at, "a function stands before any trigger id"),
            }
        } else {
            has_id = true;
            source = read_id(content, &at, report);
        }
        if reader.is_full() {
            let message = format!("the table has more than {TRIGGERS_MAX} entries");
            report.error("YC_TABLE", &at, message);
            return;
        }
    }
}

/// `ID:`, perhaps with `[]` behind.
fn read_id<'a>(content: &'a str, at: &At, report: &mut Report<'_>) -> Option<Source<'a>> {
    let known = "TRIGGER_ID: and, in lines below, - package.function";
    let content = content.strip_suffix("[]").map_or(content, str::trim_end);
    let Some(id) = content.strip_suffix(':').map(str::trim_end) else {
        let message = format!("{content:?} is not understood: {known}");
        report.error("YC_TABLE", at, message);
        return None;
    };
    let id = id.trim_matches(['"', '\'']);
    let Some(rest) = id.strip_prefix("storage.") else {
        let queue = id.rsplit(':').next().unwrap_or_default();
        if queue.is_empty() {
            report.error("YC_TABLE", at, "the trigger id is empty");
            return None;
        }
        return Some(Source::Queue(queue));
    };
    match rest.rsplit_once('.') {
        Some((bucket, verb @ ("create" | "update" | "delete"))) if !bucket.is_empty() => {
            Some(Source::Storage { bucket, verb })
        }
        _ => {
            let message = format!("{id:?} is not storage.<bucket>.<create|update|delete>");
            report.error("YC_TRIGGER_ID", at, message);
            None
        }
    }
}

fn read_entry(
    entry: &str,
    source: &Source<'_>,
    at: &At,
    reader: &mut Reader<'_>,
    report: &mut Report<'_>,
) {
    let entry = entry.trim_matches(['"', '\'']);
    let Some((package, function)) = entry.split_once('.') else {
        let message = format!("{entry:?} names no package and is left out: package.function");
        report.warning("YC_NO_PACKAGE", at, message);
        return;
    };
    let Some(found) = reader.target.function(Some(package), function).cloned() else {
        let message = format!("there is no function {package}/{function}: the entry is left out");
        report.warning("YC_FUNCTION_UNKNOWN", at, message);
        return;
    };
    let added = match source {
        Source::Storage { bucket, verb } => {
            let event_type = EventType::parse(&format!("file.object.{verb}"));
            let encoded = utf8_percent_encode(bucket, PLAIN);
            let subject = format!("object-storage/{encoded}/{{objectID}}");
            let words = [package, function, bucket, verb];
            let on: Vec<EventType> = event_type.into_iter().collect();
            reader.add(&words, found, &on, &subject).is_some()
        }
        Source::Queue(queue) => {
            let on: Vec<EventType> = EventType::from_number(4000).into_iter().collect();
            let subject = format!("queues/{}", utf8_percent_encode(queue, PLAIN));
            reader
                .add(&[package, function, queue], found, &on, &subject)
                .is_some()
        }
    };
    if !added {
        report.error(
            "YC_TRIGGER_ID",
            at,
            "the trigger id is too long for a pattern",
        );
    }
}
