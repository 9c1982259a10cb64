//! Translates the rule language of Space Cloud's filters into CEL.
//!
//! `args.data` is the event's data. A rule that names a field which the data lacks does not hold,
//! as there: each field is asked for before it is compared.

use super::document::{Node, last, repeated};
use super::finding::Report;

const CODE: &str = "SC_FILTER";

/// Rules within rules, at most.
const DEPTH_MAX: usize = 16;

/// Words that CEL does not take for the name of a field.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// The condition, or `None` when something about it was told.
pub(super) fn compile(rule: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    rule_at(rule, 0, report)
}

fn rule_at(node: &Node<'_>, depth: usize, report: &mut Report<'_>) -> Option<String> {
    let Some(members) = node.members() else {
        report.error(CODE, &node.at, "a rule is an object");
        return None;
    };
    if depth > DEPTH_MAX {
        let message = format!("rules are nested more than {DEPTH_MAX} deep");
        report.error(CODE, &node.at, message);
        return None;
    }
    if let Some(member) = repeated(&members).first() {
        let message = format!("{:?} stands twice in one rule", member.name);
        report.error(CODE, &member.at, message);
        return None;
    }
    let member = |name: &str| last(&members, name).map(|member| &member.value);
    let rule = member("rule").and_then(Node::text).unwrap_or_default();
    match rule.as_str() {
        "allow" => Some("true".to_owned()),
        "deny" => Some("false".to_owned()),
        "and" | "or" => {
            let clauses = member("clauses")
                .and_then(Node::elements)
                .unwrap_or_default();
            if clauses.is_empty() {
                let message = format!("the rule {rule:?} has no clauses");
                report.error(CODE, &node.at, message);
                return None;
            }
            let compiled: Vec<Option<String>> = clauses
                .iter()
                .map(|clause| rule_at(clause, depth + 1, report))
                .collect();
            let compiled: Vec<String> = compiled.into_iter().collect::<Option<_>>()?;
            let sign = if rule == "and" { " && " } else { " || " };
            Some(format!("({})", compiled.join(sign)))
        }
        "match" => {
            let kind = member("type").and_then(Node::text).unwrap_or_default();
            let eval = member("eval").and_then(Node::text).unwrap_or_default();
            match (member("f1"), member("f2")) {
                (Some(f1), Some(f2)) => comparison(node, &kind, &eval, [f1, f2], report),
                _ => {
                    report.error(CODE, &node.at, "a match compares f1 with f2");
                    None
                }
            }
        }
        other => {
            let at = member("rule").map_or(&node.at, |rule| &rule.at);
            let message = format!(
                "the rule {other:?} cannot be a condition: there are match, and, or, allow and deny"
            );
            report.error(CODE, at, message);
            None
        }
    }
}

/// A side of a comparison: what it is called in CEL, and what must be there first.
struct Side {
    text: String,
    guards: Vec<String>,
}

fn comparison(
    node: &Node<'_>,
    kind: &str,
    eval: &str,
    sides: [&Node<'_>; 2],
    report: &mut Report<'_>,
) -> Option<String> {
    if !matches!(kind, "string" | "number" | "bool" | "null" | "date") {
        let message = format!("{kind:?} is no type to compare: string, number, bool, null, date");
        report.error(CODE, &node.at, message);
        return None;
    }
    let orders = matches!(kind, "string" | "number" | "date");
    let sign = match eval {
        "==" | "!=" => eval,
        ">" | ">=" | "<" | "<=" if orders => eval,
        "in" | "notIn" => "in",
        _ => {
            let message =
                format!("{eval:?} cannot be asked of a {kind}: ==, !=, >, >=, <, <=, in, notIn");
            report.error(CODE, &node.at, message);
            return None;
        }
    };
    if kind == "date" {
        let message =
            "dates are compared as texts: both must be written alike, such as 2026-11-26T08:00:00Z";
        report.warning("SC_FILTER_DATE", &node.at, message);
    }
    let [f1, f2] = sides.map(|side| side_of(side, kind, eval, report));
    let (f1, f2) = (f1?, f2?);
    let compared = match eval {
        "notIn" => format!("!({} in {})", f1.text, f2.text),
        _ => format!("{} {sign} {}", f1.text, f2.text),
    };
    let mut parts = f1.guards;
    parts.extend(f2.guards);
    parts.push(compared);
    parts.dedup();
    Some(match parts.as_slice() {
        [only] => only.clone(),
        parts => format!("({})", parts.join(" && ")),
    })
}

fn side_of(node: &Node<'_>, kind: &str, eval: &str, report: &mut Report<'_>) -> Option<Side> {
    let literal = |text: String| Side {
        text,
        guards: Vec::new(),
    };
    if let Some(elements) = node.elements() {
        if !matches!(eval, "in" | "notIn") {
            report.error(CODE, &node.at, "a list is only for in and notIn");
            return None;
        }
        let written: Vec<Option<String>> = elements
            .iter()
            .map(|element| value(element, kind, report))
            .collect();
        let written: Vec<String> = written.into_iter().collect::<Option<_>>()?;
        return Some(literal(format!("[{}]", written.join(", "))));
    }
    let text = node.text();
    match text.as_deref() {
        Some("args.data") => Some(literal("data".to_owned())),
        Some(text) if text.starts_with("args.data.") => {
            let path = text.strip_prefix("args.data.").unwrap_or_default();
            path_of(node, path, report)
        }
        Some(text) if text.starts_with("args.") || text.starts_with("utils.") => {
            let message = format!("{text:?} is not there: a condition knows args.data");
            report.error(CODE, &node.at, message);
            None
        }
        Some(_) | None => value(node, kind, report).map(literal),
    }
}

/// `data.doc.status`, and that each part of it is there.
fn path_of(node: &Node<'_>, path: &str, report: &mut Report<'_>) -> Option<Side> {
    let mut text = "data".to_owned();
    let mut guards = Vec::new();
    for part in path.split('.') {
        let is_name = part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part
                .chars()
                .all(|symbol| symbol.is_ascii_alphanumeric() || symbol == '_')
            && !RESERVED.contains(&part);
        if !is_name {
            let message = format!("{part:?} cannot be a field's name in a condition");
            report.error(CODE, &node.at, message);
            return None;
        }
        text.push('.');
        text.push_str(part);
        guards.push(format!("has({text})"));
    }
    Some(Side { text, guards })
}

/// A value that stands in the rule itself.
fn value(node: &Node<'_>, kind: &str, report: &mut Report<'_>) -> Option<String> {
    let text = node.text();
    let written = match kind {
        // JSON writes no escape that CEL would read otherwise.
        "string" | "date" => text
            .as_deref()
            .and_then(|text| serde_json::to_string(text).ok()),
        "number" => number(text.as_deref().unwrap_or_else(|| node.raw()))
            .filter(|_| node.is_number() || text.is_some()),
        "bool" => text
            .as_deref()
            .unwrap_or_else(|| node.raw())
            .parse::<bool>()
            .ok()
            .map(|value| value.to_string()),
        _ => node.is_null().then(|| "null".to_owned()),
    };
    if written.is_none() {
        let message = format!("{} is no {kind}", node.shown());
        report.error(CODE, &node.at, message);
    }
    written
}

/// A number as CEL writes it: JSON allows forms that it does not.
fn number(text: &str) -> Option<String> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.to_string());
    }
    let number: f64 = text.parse().ok()?;
    number.is_finite().then(|| format!("{number:?}"))
}
