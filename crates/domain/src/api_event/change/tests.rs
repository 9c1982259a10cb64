//! Tests of what scripts answer and what becomes of requests and responses.

use super::*;

fn request() -> ApiRequest {
    ApiRequest {
        method: "POST".to_owned(),
        uri: "/api/v2/db/_table/contact".to_owned(),
        service: "db".to_owned(),
        resource: "_table/contact".to_owned(),
        parameters: vec![("limit".to_owned(), "5".to_owned())],
        headers: vec![
            ("host".to_owned(), "x".to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-one".to_owned(), "1".to_owned()),
        ],
        body: Bytes::from_static(b"{\"a\":1}").into(),
    }
}

fn response() -> ApiResponse {
    ApiResponse {
        status: 200,
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("etag".to_owned(), "\"1\"".to_owned()),
            ("x-one".to_owned(), "1".to_owned()),
        ],
        body: Bytes::from_static(b"{\"a\": 1}").into(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn request_with(wanted: Value) -> ApiRequest {
    changed_request(&request(), &object(wanted)).unwrap()
}

fn response_with(wanted: Value) -> ApiResponse {
    changed_response(&response(), &object(wanted)).unwrap()
}

#[test]
fn an_empty_answer_asks_for_nothing() {
    for body in ["", " \n", "null", "{}", "\"\"", "[]"] {
        assert_eq!(
            Answer::read(body.as_bytes()),
            Ok(Answer::default()),
            "{body}"
        );
    }
    assert!(
        Answer::read(b"OK")
            .unwrap_err()
            .to_string()
            .contains("not JSON")
    );
}

#[test]
fn members_are_told_from_what_a_script_returned() {
    let answer = Answer::read(b"{\"stop_propagation\": true}").unwrap();
    assert!(answer.stop_propagation && answer.returned.is_none());
    let answer = Answer::read(b"{\"rows\": []}").unwrap();
    assert_eq!(answer.returned, Some(json!({"rows": []})));
    for wrong in [
        "{\"request\": 1}",
        "{\"stop_propagation\": \"yes\"}",
        "{\"exception\": 1}",
    ] {
        assert!(Answer::read(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn an_exception_has_the_status_code_and_message_that_it_says() {
    let read = |text: &str| Answer::read(text.as_bytes()).unwrap().exception;
    let exception =
        read(r#"{"exception": {"status_code": 400, "code": 123456, "message": "Missing filter"}}"#);
    let body = exception.unwrap().response();
    assert_eq!(body.status, 400);
    assert_eq!(
        serde_json::from_slice::<Value>(&body.body.0).unwrap(),
        json!({"error": {"code": 123_456, "context": null, "message": "Missing filter", "status_code": 400}})
    );
    let exception = read(r#"{"exception": {"message": "no"}}"#).unwrap();
    assert_eq!((exception.status_code, exception.code), (500, json!(500)));
    assert_eq!(
        read(r#"{"exception": "no"}"#),
        Some(Exception::new(500, "no"))
    );
    assert_eq!(read(r#"{"exception": null}"#), None);
    assert!(Answer::read(br#"{"exception": {"status_code": 99}}"#).is_err());
}

#[test]
fn what_is_as_it_was_shown_is_no_change() {
    let shown = request().to_json();
    assert_eq!(request_with(shown), request());
    let shown = response().to_json();
    // Byte for byte: the blank in the body is still there.
    assert_eq!(response_with(shown), response());
}

#[test]
fn s5_15_method_parameters_headers_and_payload_can_be_changed() {
    let changed = request_with(json!({
        "method": "put",
        "parameters": {"limit": 1, "ids": ["1", 2], "all": true},
        "headers": {"X-Two": "2", "Host": "evil"},
        "payload": {"a": 2},
    }));
    assert_eq!(changed.method, "PUT");
    let parameter = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut parameters = changed.parameters.clone();
    parameters.sort();
    assert_eq!(
        parameters,
        [
            parameter("all", "true"),
            parameter("ids", "1"),
            parameter("ids", "2"),
            parameter("limit", "1"),
        ]
    );
    // Replaced as a whole, but for what belongs to the connection.
    assert_eq!(
        changed.headers,
        [
            parameter("host", "x"),
            parameter("x-two", "2"),
            parameter("content-type", "application/json"),
        ]
    );
    assert_eq!(changed.body.0, "{\"a\":2}");
}

#[test]
fn s5_15_content_can_be_changed_with_its_type() {
    let changed = request_with(
        json!({"content": "a=1", "content_type": "application/x-www-form-urlencoded"}),
    );
    assert_eq!(changed.body.0, "a=1");
    assert_eq!(
        changed.content_type(),
        Some("application/x-www-form-urlencoded")
    );
    // The whole object comes back with one of the two changed.
    let mut whole = object(request().to_json());
    whole.insert("content".to_owned(), json!("{\"a\":3}"));
    assert_eq!(
        request_with(Value::Object(whole.clone())).body.0,
        "{\"a\":3}"
    );
    whole.insert("payload".to_owned(), json!({"a": 4}));
    assert_eq!(request_with(Value::Object(whole)).body.0, "{\"a\":4}");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    for wrong in [
        json!({"method": ""}),
        json!({"method": "GET /"}),
        json!({"headers": {"x": "a\r\nb: c"}}),
        json!({"headers": {"a b": "c"}}),
        json!({"headers": "none"}),
        json!({"parameters": {"a": {"b": 1}}}),
        json!({"content": "%", "content_is_base64": true}),
    ] {
        assert!(
            changed_request(&request(), &object(wrong.clone())).is_err(),
            "{wrong}"
        );
    }
    for wrong in [
        json!({"status_code": 100}),
        json!({"status_code": "x"}),
        json!({"headers": 1}),
    ] {
        assert!(
            changed_response(&response(), &object(wrong.clone())).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn s5_17_a_response_that_is_made_has_status_200_unless_it_says_another() {
    let made = made_response(&json!({"content": {"ok": true}})).unwrap();
    assert_eq!(
        (made.status, made.body.0.as_ref()),
        (200, &b"{\"ok\":true}"[..])
    );
    assert_eq!(made.content_type(), Some("application/json"));
    let made =
        made_response(&json!({"status_code": 422, "content": "no", "headers": {"X-A": "b"}}))
            .unwrap();
    assert_eq!((made.status, made.body.0.as_ref()), (422, &b"no"[..]));
    assert_eq!(made.content_type(), Some("text/plain; charset=utf-8"));
    let raw = made_response(&json!({"rows": [1]})).unwrap();
    assert_eq!(
        (raw.status, raw.body.0.as_ref()),
        (200, &b"{\"rows\":[1]}"[..])
    );
}

#[test]
fn s5_20_status_content_and_headers_can_be_changed_afterwards() {
    let changed = response_with(json!({
        "status_code": 201,
        "content": {"b": 2},
        "headers": {"X-Two": "2"},
    }));
    assert_eq!(changed.status, 201);
    assert_eq!(changed.body.0, "{\"b\":2}");
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    // Merged; what was said about the old content is gone.
    assert_eq!(
        changed.headers,
        [
            header("x-one", "1"),
            header("x-two", "2"),
            header("content-type", "application/json"),
        ]
    );
    let text = response_with(json!({"content": "hello"}));
    assert_eq!(text.content_type(), Some("text/plain; charset=utf-8"));
    let typed = response_with(json!({"content": "a,b", "content_type": "text/csv"}));
    assert_eq!(typed.content_type(), Some("text/csv"));
    let without = response_with(json!({"headers": {"x-one": null}}));
    assert!(without.headers.iter().all(|(name, _)| name != "x-one"));
}

#[test]
fn bytes_that_are_no_text_come_and_go_as_base64() {
    let bytes = Bytes::from_static(b"\xff\x00\x01");
    let response = ApiResponse {
        status: 200,
        headers: vec![("content-type".to_owned(), "image/png".to_owned())],
        body: bytes.clone().into(),
    };
    let shown = response.to_json();
    assert_eq!(shown["content_is_base64"], true);
    let same = made_response(&shown).unwrap();
    assert_eq!((same.body.0, same.status), (bytes, 200));
}

mod any_answer {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        let name = prop_oneof![
            Just("request".to_owned()),
            Just("response".to_owned()),
            Just("exception".to_owned()),
            Just("headers".to_owned()),
            Just("content".to_owned()),
            Just("status_code".to_owned()),
            Just("parameters".to_owned()),
            "[a-z]{1,4}",
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_answer_makes_a_request_or_response_that_cannot_be_sent(answer in value()) {
            let Ok(answer) = Answer::read(answer.to_string().as_bytes()) else { return Ok(()) };
            if let Some(Ok(made)) = answer.request.map(|wanted| changed_request(&request(), &wanted)) {
                prop_assert!(made.headers.iter().all(|(_, value)| !value.contains(['\r', '\n'])));
                prop_assert!(!made.method.is_empty());
            }
            if let Some(Ok(made)) = answer.response.map(|made| made_response(&made)) {
                prop_assert!((200..=599).contains(&made.status));
                prop_assert!(made.headers.iter().all(|(_, value)| !value.contains(['\r', '\n'])));
            }
        }
    }
}
