//! Tests of reading `OpenAPI` documents, and that no text makes the reader stumble.

use proptest::prelude::*;

use super::*;

const CARS: &str = r#"{
  "openapi": "3.0.3",
  "info": {"title": "Cars", "version": "1"},
  "paths": {
    "/": {"get": {}},
    "/makes/count": {"get": {"responses": {}}, "summary": "x", "parameters": []},
    "/makes/{make-id}/models": {"get": {}, "post": {}, "head": {}, "options": {}},
    "/files/report-{year}.{ext}": {"get": {}},
    "x-internal": true
  }
}"#;

const CARS_IN_YAML: &str = r"
openapi: 3.1.0
info: {title: Cars, version: '1'}
servers:
  - url: https://cars.example/v1
paths:
  /:
    get: {}
  /makes/count:
    summary: x
    parameters: []
    get:
      responses: {'200': {description: ok}}
  /makes/{make-id}/models:
    get: &same
      description: |
        paths:
          /not/a/path:
    post: *same
    head: {}
  /files/report-{year}.{ext}:
    get:
components:
  schemas:
    paths: {/neither: {get: {}}}
";

const OPERATIONS: [&str; 5] = [
    "get",
    "makes.count.get",
    "makes.{make_id}.models.get",
    "makes.{make_id}.models.post",
    "files.report-*%2E*.get",
];

#[test]
fn s5_11_paths_and_verbs_become_operations_from_json_and_from_yaml() {
    assert_eq!(operations(CARS).unwrap(), OPERATIONS);
    assert_eq!(operations(CARS_IN_YAML).unwrap(), OPERATIONS);
    let swagger = "swagger: '2.0'\nbasePath: /v1\npaths:\n  /makes: {get: {}, delete: {}}\n";
    assert_eq!(operations(swagger).unwrap(), ["makes.get", "makes.delete"]);
}

#[test]
fn every_operation_compiles() {
    use crate::api_event::{Description, DescriptionKind};
    let read = operations(CARS).unwrap();
    assert!(Description::new("cars", DescriptionKind::OpenApi, read).is_ok());
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    for (document, said) in [
        ("{\"swagger\": \"1.2\", \"paths\": {}}", "1.2"),
        ("{\"paths\": {}}", "neither openapi nor swagger"),
        ("{\"openapi\": \"3.0.0\", \"paths\": {}}", "no operation"),
        (
            "{\"openapi\": \"3.0.0\", \"paths\": {\"/a\": {\"$ref\": \"other.json\"}}}",
            "$ref",
        ),
        (
            "{\"openapi\": \"3.0.0\", \"paths\": {\"/a//b\": {\"get\": {}}}}",
            "/a//b",
        ),
        (
            "{\"openapi\": \"3.0.0\", \"paths\": {\"/a{b\": {\"get\": {}}}}",
            "brace",
        ),
        ("{\"openapi\": ", "cannot be read"),
        ("openapi: [3", "cannot be read"),
        ("openapi: 3.0.0\npaths: *here", "cannot be read"),
        ("x: &p {/a: {get: {}}}\nopenapi: 3.0.0\npaths: *p", "alias"),
        ("a: 1\n---\nb: 2", "several"),
        ("", "neither"),
    ] {
        let error = operations(document).unwrap_err().to_string();
        assert!(error.contains(said), "{document:?}: {error}");
    }
    let long = " ".repeat(DOCUMENT_BYTES_MAX + 1);
    assert!(matches!(operations(&long), Err(DocumentError::TooLong(_))));
    let deep = format!("a: {}", "[".repeat(100_000));
    assert!(operations(&deep).is_err());
}

#[test]
fn a_billion_laughs_are_not_laughed() {
    let mut yaml = "openapi: 3.0.0\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = level - 1;
        yaml.push_str(&format!(
            "a{level}: &a{level} [*a{before}, *a{before}, *a{before}, *a{before}]\n"
        ));
    }
    yaml.push_str("paths: {/x: {get: {}}}\n");
    assert_eq!(operations(&yaml).unwrap(), ["x.get"]);
}

/// Pieces from which documents are made, sound and unsound.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("openapi: 3.0.0\n".to_owned()),
        Just("paths:\n".to_owned()),
        Just("  /a/{b}:\n".to_owned()),
        Just("    get:\n".to_owned()),
        Just("? ".to_owned()),
        Just("&a ".to_owned()),
        Just("*a".to_owned()),
        Just("- ".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("\"paths\":".to_owned()),
        Just("\t|\n".to_owned()),
        "[ -~\n]{0,12}",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_reader_stumble(pieces in prop::collection::vec(piece(), 0..24)) {
        drop(operations(&pieces.concat()));
    }

    #[test]
    fn what_is_read_compiles(paths in prop::collection::vec("(/[a-z{}.*=%-]{0,8}){1,4}", 1..6)) {
        let items: serde_json::Map<String, serde_json::Value> = paths
            .into_iter()
            .map(|path| (path, serde_json::json!({"get": {}})))
            .collect();
        let document = serde_json::json!({"openapi": "3.0.0", "paths": items}).to_string();
        if let Ok(read) = operations(&document) {
            use crate::api_event::{Description, DescriptionKind};
            let compiled = Description::new("a", DescriptionKind::OpenApi, read);
            prop_assert!(compiled.is_ok(), "{compiled:?}");
        }
    }
}
