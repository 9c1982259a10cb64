//! Events and the requests they become in each format, as files: `golden/CASE/event.json` and
//! `golden/CASE/FORMAT.txt`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken set-up should stop the test"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use domain::Timestamp;
use domain::event::{Actor, Event};
use domain::event_type::EventType;
use domain::format::{Format, KII_PARAMS_BYTES_MAX, RenderError, RenderInput, Rendered, render};
use domain::id::{DeliveryId, EventId};
use domain::name::FunctionName;
use domain::pattern::Captures;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const TIME: &str = "2026-11-22T01:15:31Z";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "type")]
    event_type: String,
    id: Option<String>,
    source: Option<String>,
    subject: Option<String>,
    time: Option<String>,
    deliver_at: Option<String>,
    actor: Option<String>,
    traceparent: Option<String>,
    datacontenttype: Option<String>,
    data: Option<Box<RawValue>>,
    text: Option<String>,
    #[serde(default)]
    params: BTreeMap<String, String>,
    session: Option<String>,
    function: Option<String>,
    #[serde(default)]
    call_headers: BTreeMap<String, String>,
}

impl Case {
    fn event(&self) -> Event {
        let accepted_at: Timestamp = TIME.parse().unwrap();
        let json = self.data.as_ref().map(|data| data.get().to_owned());
        let kind = json.as_ref().map(|_| "application/json".to_owned());
        let data = json.or_else(|| self.text.clone()).unwrap_or_default();
        Event {
            eid: EventId::new(accepted_at, [7; 10]),
            project: "acme".parse().unwrap(),
            id: self.id.clone().unwrap_or_else(|| "event-1".to_owned()),
            source: self.source.clone().unwrap_or_else(|| "/shop".to_owned()),
            event_type: EventType::parse(&self.event_type).unwrap(),
            subject: self.subject.clone(),
            time: time_of(self.time.as_ref()).unwrap_or(accepted_at),
            accepted_at,
            data_content_type: self.datacontenttype.clone().or(kind),
            data: Bytes::from(data),
            actor: self.actor.as_ref().map(|id| Actor {
                id: id.clone(),
                kind: "user".to_owned(),
            }),
            partition_key: None,
            correlation_id: None,
            causation_id: None,
            depth: 0,
            ancestry: Vec::new(),
            reply_to: None,
            deliver_at: time_of(self.deliver_at.as_ref()),
            traceparent: self.traceparent.clone(),
            extensions: BTreeMap::new(),
        }
    }

    fn rendered(&self, format: Format) -> Rendered {
        self.try_rendered(format).unwrap()
    }

    fn try_rendered(&self, format: Format) -> Result<Rendered, RenderError> {
        let event = self.event();
        let mut captures = Captures::default();
        for (name, value) in &self.params {
            captures.insert(name, value);
        }
        let function = self.function.as_deref().unwrap_or("shop/on-event");
        let function: FunctionName = function.parse().unwrap();
        let call_headers: Vec<_> = self.call_headers.clone().into_iter().collect();
        let input = RenderInput {
            event: &event,
            captures: &captures,
            secret: "s3cr\"et",
            function_session: self.session.as_deref(),
            function: &function,
            endpoint: None,
            delivery: DeliveryId::derive(event.eid, "on-event"),
            node: "worker-1",
            call_headers: &call_headers,
        };
        let first = render(format, &input);
        assert_eq!(first, render(format, &input), "rendering is pure");
        first
    }
}

/// The body that an event becomes, given as in `event.json`.
fn body(format: Format, event: &Value) -> Value {
    let case: Case = serde_json::from_str(&event.to_string()).unwrap();
    serde_json::from_slice(&case.rendered(format).body).unwrap()
}

fn golden(case_name: &str, format: Format) -> Value {
    let rendered = case(&folder().join(case_name)).rendered(format);
    serde_json::from_slice(&rendered.body).unwrap()
}

fn time_of(text: Option<&String>) -> Option<Timestamp> {
    text.map(|text| text.parse().unwrap())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn case(folder: &Path) -> Case {
    let text = fs::read_to_string(folder.join("event.json")).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {}", folder.display()))
}

/// Content type, headers, an empty line and the body, as on the wire.
fn written(rendered: &Rendered) -> String {
    let mut text = String::new();
    if let Some(content_type) = &rendered.content_type {
        writeln!(text, "content-type: {content_type}").unwrap();
    }
    for (name, value) in &rendered.headers {
        writeln!(text, "{name}: {value}").unwrap();
    }
    writeln!(text, "\n{}", std::str::from_utf8(&rendered.body).unwrap()).unwrap();
    text
}

#[test]
fn x_07_every_event_looks_as_its_files_say_in_each_format() {
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let folder = entry.unwrap().path();
        let case = case(&folder);
        for format in Format::ALL {
            let file = folder.join(format!("{}.txt", format.as_str()));
            let Ok(expected) = fs::read_to_string(&file) else {
                continue;
            };
            let found = written(&case.rendered(format));
            assert_eq!(found, expected, "{}", file.display());
            count += 1;
        }
    }
    assert!(count > 50, "{count} files were compared");
}

#[test]
fn x_07_one_event_is_rendered_in_all_formats() {
    for format in Format::ALL {
        let file = folder().join(format!("row-inserted/{}.txt", format.as_str()));
        assert!(file.exists(), "{}", file.display());
    }
}

#[test]
fn s2_50_s2_51_space_cloud_gets_cloudevents_with_its_own_data() {
    let row = golden("document-updated", Format::SpaceCloud);
    let expected = json!({
        "specversion": "1.0", "type": "DB_UPDATE", "source": "sc-worker-1", "id": "event-1",
        "time": "2026-11-22T02:00:00Z",
        "data": {
            "db": "pg", "col": "users", "doc": {"status": "delivered"}, "find": {"id": "u1"},
            "before": {"status": "new"},
        },
    });
    assert_eq!(row, expected, "its time is when it was due");
    let types = [
        ("storage.row.insert", "DB_INSERT"),
        ("storage.row.delete", "DB_DELETE"),
        ("file.object.create", "FILE_CREATE"),
        ("file.object.delete", "FILE_DELETE"),
        ("order-placed", "order-placed"),
        ("dlq_orders", "dlq_orders"),
    ];
    for (event_type, name) in types {
        let body = body(Format::SpaceCloud, &json!({"type": event_type}));
        assert_eq!(body["type"], name);
    }
}

#[test]
fn s2_03_space_cloud_tells_a_folder_from_a_file() {
    let kind = |event: Value| body(Format::SpaceCloud, &event)["data"].clone();
    let folder = json!({"type": "FILE_DELETE", "data": {"path": "/a/b/"}});
    assert_eq!(
        kind(folder),
        json!({"path": "/a/b/", "meta": null, "type": "dir"})
    );
    let file = json!({"type": "FILE_CREATE", "subject": "files/a/b.txt"});
    assert_eq!(
        kind(file),
        json!({"path": "/a/b.txt", "meta": null, "type": "file"})
    );
}

#[test]
fn s3_17_s3_19_kiis_bucket_triggers_say_scope_bucket_object_and_uri() {
    for (owner, scope) in [
        ("apps/acme", json!({"appID": "acme"})),
        ("users/u1", json!({"appID": "acme", "userID": "u1"})),
        ("groups/g1", json!({"appID": "acme", "groupID": "g1"})),
        ("things/t1", json!({"appID": "acme", "thingID": "t1"})),
    ] {
        let subject = format!("{owner}/buckets/score/objects/o9");
        let event = json!({"type": "DATA_OBJECT_UPDATED", "subject": subject, "data": {"a": 1}});
        let body = body(Format::Kii, &event);
        let path = subject.strip_prefix("apps/acme/").unwrap_or(&subject);
        let expected = json!({
            "objectScope": scope, "bucketID": "score", "objectID": "o9",
            "uri": format!("kiicloud://{path}"),
        });
        assert_eq!(body["params"], expected, "and never the object itself");
        assert_eq!(body["context"]["trigger"], "DATA_OBJECT_UPDATED");
    }
}

#[test]
fn s3_18_kiis_other_triggers_name_what_they_are_about() {
    for (event_type, subject, params) in [
        ("USER_UPDATED", "users/u1", json!({"userID": "u1"})),
        ("USER_PASSWORD_CHANGED", "users/u1", json!({"userID": "u1"})),
        ("GROUP_CREATED", "groups/g1", json!({"groupID": "g1"})),
        ("THING_CONNECTED", "things/t1", json!({"thingID": "t1"})),
        (
            "INSTALLATION_DELETED",
            "installations/i1",
            json!({"installationID": "i1"}),
        ),
    ] {
        let event = json!({"type": event_type, "subject": subject});
        let body = body(Format::Kii, &event);
        assert_eq!(body["params"], params);
        assert_eq!(body["context"]["trigger"], event_type);
    }
    let with_owner = json!({
        "type": "THING_USER_OWNER_REMOVED", "subject": "things/t1", "data": {"userID": "u1"},
    });
    assert_eq!(
        body(Format::Kii, &with_owner)["params"],
        json!({"thingID": "t1", "userID": "u1"})
    );
}

#[test]
fn s3_25_a_schedules_parameters_are_kiis_params_exactly() {
    let data = json!({"schedule": "nightly", "parameters": {"depth": 3}});
    let event = json!({"type": "timer.schedule.fire", "data": data});
    assert_eq!(body(Format::Kii, &event)["params"], json!({"depth": 3}));
}

#[test]
fn s3_31_kiis_parameters_are_refused_over_100_kb() {
    let rendered = |length: usize| {
        let text = "x".repeat(length);
        let event = json!({"type": "order-placed", "data": {"a": text}});
        let case: Case = serde_json::from_str(&event.to_string()).unwrap();
        case.try_rendered(Format::Kii)
    };
    let frame = r#"{"a":""}"#.len();
    assert!(rendered(KII_PARAMS_BYTES_MAX - frame).is_ok());
    let refused = rendered(KII_PARAMS_BYTES_MAX - frame + 1).unwrap_err();
    assert!(matches!(refused, RenderError::TooLarge { .. }));
    let text = refused.to_string();
    assert!(text.starts_with("payload_too_large: params"), "{text}");
}

#[test]
fn s4_14_s4_22_s4_24_extremums_storage_trigger_is_the_seeds_example() {
    let seed = json!({"messages": [{
        "event_metadata": {
            "event_id": "bb1dd06d-a82c-49b4-af98-d8e0c5a1d8f0",
            "event_type": "yandex.cloud.events.storage.ObjectDelete",
            "created_at": "2019-12-19T14:17:47.847365Z",
            "tracing_context": {"trace_id": "dd52ace79c62892f"},
        },
        "details": {
            "bucket_id": "s3-for-trigger",
            "object_id": "dev/0_15a775_972dbde4_orig12.jpg",
        },
    }]});
    assert_eq!(golden("object-deleted", Format::Yandex), seed);
    for (event_type, name) in [
        ("file.object.create", "ObjectCreate"),
        ("file.object.update", "ObjectUpdate"),
        ("file.object.delete", "ObjectDelete"),
    ] {
        let body = body(Format::Yandex, &json!({"type": event_type}));
        let expected = format!("yandex.cloud.events.storage.{name}");
        let metadata = &body["messages"][0]["event_metadata"];
        assert_eq!(metadata["event_type"], expected);
        assert_eq!(metadata.get("tracing_context"), None, "nothing is known");
    }
}

#[test]
fn s4_14_s4_23_s4_25_s4_26_extremums_signal_is_the_seeds_example() {
    let seed = json!({"messages": [{
        "event_metadata": {
            "event_id": "cce76685-5828-4304-a83d-95643c0507a0",
            "event_type": "yandex.cloud.events.messagequeue.QueueMessage",
            "created_at": "2019-09-24T00:54:28.980441Z",
        },
        "details": {
            "queue_id": "yrn:yc:ymq:ru-central1:21i6v06sqmsaoeon7nus:event-queue",
            "message": {
                "message_id": "cce76685-5828-4304-a83d-95643c0507a0",
                "md5_of_body": "d29343907090dff4cec4a9a0efb80d20",
                "body": "message body",
                "attributes": {"SentTimestamp": "1569285804456"},
            },
        },
    }]});
    assert_eq!(golden("queue-message", Format::Yandex), seed);
}

#[test]
fn s4_27_what_else_a_message_carried_goes_on_with_it() {
    let body = golden("queue-message-taken-in", Format::Yandex);
    let message = &body["messages"][0];
    assert_eq!(message["event_metadata"]["cloud_id"], "b1g");
    let inner = &message["details"]["message"];
    assert_eq!(inner["attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(inner["message_attributes"]["k"]["stringValue"], "v");
    assert_ne!(inner["md5_of_body"], "is wrong");
}

#[test]
fn s4_34_a_timers_message_names_its_trigger_and_payload() {
    let event = json!({
        "type": "timer.schedule.fire",
        "data": {"trigger_id": "a1s", "payload": "wake up"},
    });
    let body = body(Format::Yandex, &event);
    assert_eq!(
        body["messages"][0]["details"],
        json!({"trigger_id": "a1s", "payload": "wake up"})
    );
}

#[test]
fn s4_35_a_devices_payload_is_base_64_whatever_it_was() {
    let payload =
        |event: Value| body(Format::Yandex, &event)["messages"][0]["details"]["payload"].clone();
    let of = |data: Value| json!({"type": "iot.message.receive", "data": data});
    assert_eq!(payload(of(json!({"payload": "VGVzdCA0"}))), "VGVzdCA0");
    assert_eq!(payload(of(json!({"payload": "23.5 °C"}))), "MjMuNSDCsEM=");
    assert_eq!(payload(of(json!({"payload": {"t":1}}))), "eyJ0IjoxfQ==");
    let bare =
        json!({"type": "iot.message.receive", "datacontenttype": "text/plain", "text": "hi"});
    assert_eq!(payload(bare), "aGk=");
}

#[test]
fn s4_01_extremums_direct_call_is_the_seeds_example() {
    let event = json!({
        "type": "call.made", "function": "my-package/number-func", "session": "",
        "data": {"name": "Jack", "age": 23},
    });
    let seed = json!({
        "parameters": {"name": "Jack", "age": 23},
        "context": {
            "headers": {"Authorization": "Bearer ", "x-app-id": "acme"},
            "package": "my-package",
            "function": "number-func",
        },
    });
    assert_eq!(body(Format::Extremum, &event), seed);
}

#[test]
fn s5_14_dreamfactorys_pre_process_event_has_no_response() {
    let before = golden("call-before", Format::DreamFactory);
    assert_eq!(
        before,
        json!({"request": {"method": "GET"}, "resource": "7"})
    );
    let after = golden("call-after", Format::DreamFactory);
    assert_eq!(after["response"]["status_code"], 200);
    assert_eq!(after["request"]["resource"], "_table/contact");
}

#[test]
fn x_04_batches_are_sent_only_where_they_are_asked_for() {
    for format in Format::ALL {
        let event = json!({"type": "order-placed"});
        let case: Case = serde_json::from_value(event).unwrap();
        let content_type = case.rendered(format).content_type;
        let is_batch = content_type.as_deref() == Some("application/cloudevents-batch+json");
        assert_eq!(is_batch, format == Format::CloudEventsBatch);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_the_event_a_json_format_makes_json(
        event_type in proptest::sample::select(TYPES.to_vec()),
        subject in "[a-z/%0-9]{0,40}",
        content_type in proptest::sample::select(vec!["application/json", "text/plain", "image/png", ""]),
        data in proptest::sample::select(DATA.to_vec()),
        noise in "\\PC{0,20}",
    ) {
        let text = data.replace("NOISE", &noise);
        let case = Case {
            subject: Some(subject).filter(|subject| !subject.is_empty()),
            datacontenttype: Some(content_type.to_owned()).filter(|kind| !kind.is_empty()),
            text: Some(text),
            ..serde_json::from_value(json!({"type": event_type})).unwrap()
        };
        for format in Format::ALL.into_iter().filter(|it| *it != Format::CloudEventsBinary) {
            let body = case.rendered(format).body;
            let read: Result<Value, _> = serde_json::from_slice(&body);
            proptest::prop_assert!(read.is_ok(), "{}: {body:?}", format.as_str());
        }
    }
}

const TYPES: [&str; 9] = [
    "storage.row.insert",
    "file.object.update",
    "auth.session.login",
    "thing.owner.add_user",
    "queue.message.receive",
    "iot.message.receive",
    "timer.schedule.fire",
    "api.call.post",
    "order-placed",
];

const DATA: [&str; 14] = [
    "",
    "NOISE",
    "null",
    "[1]",
    "\"NOISE\"",
    "{",
    r#"{"row_id":"NOISE","find":null,"col":7}"#,
    r#"{"message":{"body":"NOISE","attributes":[]}}"#,
    r#"{"message":"NOISE","queue_id":{}}"#,
    r#"{"event_metadata":{"tracing_context":"x"},"details":{"message":{"body":[]}}}"#,
    r#"{"payload":"NOISE","trigger_id":false}"#,
    r#"{"parameters":[1,"NOISE"]}"#,
    r#"{"request":null,"response":"NOISE","resource":{}}"#,
    r#"{"objectScope":"NOISE","bucketID":1.5e3,"uri":[]}"#,
];
