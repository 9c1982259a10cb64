//! Whatever comes in as `CloudEvents` is read or refused: nothing panics, hangs or grows.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use proptest::prelude::*;
use serde_json::Value;

use super::{binary, json, structured};

/// Names that mean something, and others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "(specversion|id|source|type|subject|time|datacontenttype|data|data_base64|dataschema)",
        "(actorid|actorkind|partitionkey|correlationid|causationid|traceparent|depth|delay|deliverat)",
        "[a-z0-9]{1,20}",
        ".{0,10}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(1\\.0|0\\.3|2019-12-19T14:17:47Z|application/json|text/plain|AAAA|00-0af7-b7ad-01)"
            .prop_map(Value::from),
        ".{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(".{0,5}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    prop::collection::hash_map(name(), value(), 0..12).prop_map(|mut members| {
        members
            .entry("specversion".to_owned())
            .or_insert_with(|| Value::from("1.0"));
        Value::Object(members.into_iter().collect())
    })
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let field = (name(), prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::vec(field, 0..12).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", HeaderValue::from_static("1.0"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        for (name, value) in fields {
            // What could never stand in a head does not arrive.
            if let Ok(name) = HeaderName::try_from(format!("ce-{name}"))
                && let Ok(value) = HeaderValue::from_bytes(&value)
            {
                headers.append(name, value);
            }
        }
        headers
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let body = Bytes::from(body);
        if let Ok(members) = json::object(&body) {
            drop(structured::read(&members, &body));
        }
        drop(json::each(&body, |members| structured::read(members, &body)));
    }

    #[test]
    fn documents_of_any_kind_are_read_or_refused(document in document()) {
        let body = Bytes::from(document.to_string());
        let members = json::object(&body).unwrap();
        if let Ok(draft) = structured::read(&members, &body) {
            prop_assert!(draft.data.len() <= body.len(), "data is part of the document");
        }
    }

    #[test]
    fn a_batch_has_as_many_events_as_it_has_documents(
        documents in prop::collection::vec(document(), 0..5),
    ) {
        let count = documents.len();
        let body = Bytes::from(Value::from(documents).to_string());
        if let Ok(drafts) = json::each(&body, |members| structured::read(members, &body)) {
            prop_assert_eq!(drafts.len(), count);
        }
    }

    #[test]
    fn heads_of_any_kind_are_read_or_refused(
        headers in headers(),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let body = Bytes::from(body);
        if let Ok(draft) = binary::read(&headers, body.clone()) {
            prop_assert_eq!(draft.data, body, "the body is the data, as it came");
        }
    }
}
