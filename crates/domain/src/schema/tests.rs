//! What a schema may be, and what it says of data.

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

fn schema(value: &Value) -> Result<Schema, SchemaError> {
    Schema::parse(&value.to_string())
}

fn order() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://shop.example/order.json",
        "type": "object",
        "required": ["total"],
        "properties": {
            "total": {"type": "number", "minimum": 0},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}
        },
        "$defs": {"line": {"type": "object", "required": ["sku"]}}
    })
}

#[test]
fn s2_35_data_that_breaks_a_rule_is_told_where_and_which() {
    let schema = schema(&order()).unwrap();
    for (data, pointer, rule) in [
        (json!({"total": -1}), "/total", "/properties/total/minimum"),
        (json!({}), "", "/required"),
        (json!([1]), "", "/type"),
        (
            json!({"total": 1, "lines": [{"sku": 1}, {}]}),
            "/lines/1",
            "/$defs/line/required",
        ),
        (
            json!({"total": 1, "code": "x"}),
            "/code",
            "/properties/code/pattern",
        ),
    ] {
        let violation = schema.check(&data).unwrap_err();
        assert_eq!(violation.pointer, pointer, "{violation:?}");
        assert_eq!(violation.rule, rule, "{violation:?}");
    }
    let good = json!({"total": 1.5, "lines": [{"sku": 1}], "code": "AB-12"});
    assert_eq!(schema.check(&good), Ok(()));
}

#[test]
fn a_schema_that_leads_elsewhere_or_back_to_itself_is_refused() {
    type Check = fn(&SchemaError) -> bool;
    let outside: Check = |error| matches!(error, SchemaError::Outside { .. });
    let recursive: Check = |error| matches!(error, SchemaError::Recursive(_));
    for (value, is_expected) in [
        (json!({"$ref": "https://example.com/other.json"}), outside),
        (json!({"$ref": "file:///etc/passwd"}), outside),
        (json!({"$ref": "other.json#/a"}), outside),
        (json!({"$ref": "#name", "$defs": {}}), outside),
        (json!({"$defs": {"a": {"$id": "http://x/"}}}), outside),
        (json!({"items": {"$dynamicRef": "#x"}}), outside),
        (json!({"$ref": "#"}), recursive),
        (json!({"properties": {"child": {"$ref": "#"}}}), recursive),
        (
            json!({"$ref": "#/$defs/a", "$defs": {
                "a": {"items": {"$ref": "#/$defs/b"}},
                "b": {"not": {"$ref": "#/$defs/a"}}
            }}),
            recursive,
        ),
        (json!({"$ref": "#/$defs/none"}), |error| {
            matches!(error, SchemaError::Nowhere { .. })
        }),
        (json!("text"), |error| *error == SchemaError::NotASchema),
        (json!({"type": "planet"}), |error| {
            matches!(error, SchemaError::Refused(_))
        }),
        (json!({"pattern": "(?=x)"}), |error| {
            matches!(error, SchemaError::Refused(_))
        }),
        (json!({"pattern": "((a{1000}){1000}){1000}"}), |error| {
            matches!(error, SchemaError::Refused(_))
        }),
    ] {
        let error = schema(&value).unwrap_err();
        assert!(is_expected(&error), "{value}: {error:?}");
    }
    assert!(matches!(Schema::parse("{"), Err(SchemaError::NotJson(_))));
    // What is only called so is none.
    let harmless = json!({"properties": {"$ref": {"type": "string"}, "id": {"type": "string"}}});
    assert!(schema(&harmless).is_ok());
}

#[test]
fn a_schema_that_would_take_long_is_refused_before_it_is_compiled() {
    // Each level refers twice to the next: 2^n in all.
    let mut defs = serde_json::Map::new();
    for level in 0..50 {
        let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
        defs.insert(format!("l{level}"), json!({"allOf": [next, next]}));
    }
    defs.insert("l50".to_owned(), json!(true));
    let doubling = json!({"$ref": "#/$defs/l0", "$defs": defs});
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({"not": deep});
    }
    let wide: Vec<_> = (0..5_000).map(|_| json!({})).collect();
    let patterns: Vec<_> = (0..200).map(|_| json!({"pattern": "a"})).collect();
    let started = Instant::now();
    for (value, expected) in [
        (
            doubling,
            vec![SchemaError::TooManyParts, SchemaError::TooDeep],
        ),
        (deep, vec![SchemaError::TooDeep]),
        (json!({"allOf": wide}), vec![SchemaError::TooManyParts]),
        (
            json!({"anyOf": patterns}),
            vec![SchemaError::TooManyPatterns],
        ),
        (
            json!({"title": "x".repeat(SCHEMA_BYTES_MAX)}),
            vec![SchemaError::TooLong(SCHEMA_BYTES_MAX + 12)],
        ),
    ] {
        let error = schema(&value).unwrap_err();
        assert!(expected.contains(&error), "{error:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn any_data_is_checked_within_the_stack_of_a_small_thread() {
    // As deep as both may be.
    let mut deep = json!({"type": "integer"});
    for _ in 0..20 {
        deep = json!({"items": {"allOf": [deep]}});
    }
    let deep = schema(&deep).unwrap();
    let mut data = json!("x");
    for _ in 0..100 {
        data = json!([data]);
    }
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    let checked = thread.spawn(move || deep.check(&data).is_err());
    assert!(checked.unwrap().join().is_ok());
}
