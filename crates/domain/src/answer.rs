//! What an endpoint's answer says beyond its status: that an event was not taken after all, and
//! which of those that came in one request were not.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::delivery::{ErrorClass, Outcome};

/// Of a batch, this many ids that nobody sent are shown.
const UNKNOWN_SHOWN_MAX: usize = 5;

/// The body of an answer, as far as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    /// There was more.
    pub is_truncated: bool,
}

/// What an answer comes to where 2xx must be JSON without an `error`.
///
/// What is longer than is read of it counts by its status alone.
pub fn of_strict(outcome: &Outcome, body: Body<'_>) -> Outcome {
    if !is_accepted(outcome) || body.is_truncated {
        return outcome.clone();
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body.bytes) else {
        return not_taken("the answer is not JSON, which its trigger expects".to_owned());
    };
    match answer.get("error") {
        None | Some(Value::Null) => outcome.clone(),
        Some(Value::String(text)) if text.is_empty() => outcome.clone(),
        Some(Value::String(text)) => not_taken(format!("the endpoint says: {}", cut(text))),
        Some(other) => not_taken(format!("the endpoint says: {}", cut(&other.to_string()))),
    }
}

/// What an endpoint says of the events that came in one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchAnswer {
    failed: BTreeSet<String>,
    fault: Option<String>,
}

impl BatchAnswer {
    /// Reads `{"failed": ["EVENT ID", …]}`. Any other answer fails nothing by itself, but for one
    /// that begins to say so and cannot be understood: then all have failed.
    pub fn read(body: Body<'_>) -> Self {
        let Ok(answer) = serde_json::from_slice::<Value>(body.bytes) else {
            let begins = body.bytes.trim_ascii_start().starts_with(b"{");
            let says = body.bytes.windows(8).any(|window| window == b"\"failed\"");
            let is_lost = body.is_truncated && begins && says;
            return Self {
                fault: is_lost.then(|| "the list of what failed is too long to be read".to_owned()),
                ..Self::default()
            };
        };
        match answer.get("failed") {
            None | Some(Value::Null) => Self::default(),
            Some(Value::Array(ids)) => {
                // What is no text is as unknown as any other id that was not sent.
                let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
                let ids = ids.iter().map(text);
                Self {
                    failed: ids.collect(),
                    fault: None,
                }
            }
            Some(_) => Self {
                fault: Some("the answer's `failed` is not a list of event ids".to_owned()),
                ..Self::default()
            },
        }
    }

    /// What it comes to for one event.
    pub fn outcome(&self, event_id: &str, outcome: &Outcome) -> Outcome {
        if !is_accepted(outcome) {
            return outcome.clone();
        }
        if let Some(fault) = &self.fault {
            return not_taken(fault.clone());
        }
        if self.failed.contains(event_id) {
            return not_taken("the endpoint says that this event failed".to_owned());
        }
        outcome.clone()
    }

    /// A remark about ids in the list that were not sent, if there are any.
    pub fn unknown<'a>(&self, sent: impl Iterator<Item = &'a str>) -> Option<String> {
        if self.failed.is_empty() {
            return None;
        }
        let sent: BTreeSet<&str> = sent.collect();
        let mut unknown = self.failed.iter().filter(|id| !sent.contains(id.as_str()));
        let shown: Vec<&str> = unknown
            .by_ref()
            .take(UNKNOWN_SHOWN_MAX)
            .map(|id| cut(id))
            .collect();
        if shown.is_empty() {
            return None;
        }
        let more = match unknown.count() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Some(format!(
            "the answer names events that were not sent: {}{more}",
            shown.join(", ")
        ))
    }
}

const fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered { status: 200..=299 })
}

fn not_taken(message: String) -> Outcome {
    Outcome::Unreachable {
        class: ErrorClass::Answer,
        message,
    }
}

/// As much of a text as belongs into a remark.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(200);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Outcome = Outcome::Answered { status: 200 };

    fn body(text: &str) -> Body<'_> {
        Body {
            bytes: text.as_bytes(),
            is_truncated: false,
        }
    }

    fn message(outcome: &Outcome) -> &str {
        match outcome {
            Outcome::Unreachable {
                class: ErrorClass::Answer,
                message,
            } => message,
            Outcome::Answered { .. } | Outcome::Unreachable { .. } | Outcome::Impossible { .. } => {
                ""
            }
        }
    }

    #[test]
    fn s2_15_a_strict_answer_must_be_json_without_an_error() {
        for text in [
            "{}",
            r#"{"response":1}"#,
            "null",
            r#"{"error":null}"#,
            r#"{"error":""}"#,
        ] {
            assert_eq!(of_strict(&OK, body(text)), OK, "{text}");
        }
        for (text, expected) in [
            ("", "the answer is not JSON, which its trigger expects"),
            ("ok", "the answer is not JSON, which its trigger expects"),
            (r#"{"error":"x"}"#, "the endpoint says: x"),
            (r#"{"error":{"code":7}}"#, "the endpoint says: {\"code\":7}"),
        ] {
            assert_eq!(message(&of_strict(&OK, body(text))), expected);
        }
    }

    #[test]
    fn other_answers_and_those_too_long_to_be_read_count_by_their_status() {
        let refused = Outcome::Answered { status: 500 };
        assert_eq!(of_strict(&refused, body("{}")), refused);
        let long = Body {
            is_truncated: true,
            ..body(r#"{"error":"#)
        };
        assert_eq!(of_strict(&OK, long), OK);
    }

    #[test]
    fn of_a_batch_those_failed_that_the_answer_names() {
        let answer = BatchAnswer::read(body(r#"{"failed":["e2","e9", 7]}"#));
        assert_eq!(answer.outcome("e1", &OK), OK);
        assert_eq!(
            message(&answer.outcome("e2", &OK)),
            "the endpoint says that this event failed"
        );
        let unknown = answer.unknown(["e1", "e2"].into_iter());
        assert_eq!(
            unknown.as_deref(),
            Some("the answer names events that were not sent: 7, e9")
        );
        assert_eq!(answer.unknown(["e2", "e9", "7"].into_iter()), None);
    }

    #[test]
    fn a_batch_is_taken_as_a_whole_unless_the_answer_says_else() {
        for text in [
            "",
            "ok",
            "[]",
            "{}",
            r#"{"failed":[]}"#,
            r#"{"failed":null}"#,
        ] {
            let answer = BatchAnswer::read(body(text));
            assert_eq!(answer.outcome("e1", &OK), OK, "{text}");
        }
        let refused = Outcome::Answered { status: 503 };
        let answer = BatchAnswer::read(body(r#"{"failed":[]}"#));
        assert_eq!(answer.outcome("e1", &refused), refused, "then all failed");
    }

    #[test]
    fn a_list_of_failures_that_cannot_be_read_fails_all() {
        let cut_short = Body {
            is_truncated: true,
            ..body(r#"  {"failed":["e1","e"#)
        };
        assert!(!message(&BatchAnswer::read(cut_short).outcome("e1", &OK)).is_empty());
        let page = Body {
            is_truncated: true,
            ..body("<html>\"failed\"")
        };
        assert_eq!(BatchAnswer::read(page).outcome("e1", &OK), OK);
        let odd = BatchAnswer::read(body(r#"{"failed":true}"#));
        assert!(!message(&odd.outcome("e1", &OK)).is_empty());
    }
}
