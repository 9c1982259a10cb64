//! Space Cloud's addresses for queueing events, with all the spellings its documents have.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use domain::Timestamp;
use domain::access::Scope;
use domain::event_type::EventType;
use domain::reply::{Verdict, WAIT};
use http::StatusCode;
use http::header::HeaderMap;
use protocol::fault::Fault;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::attributes::moment;
use super::body::Incoming;
use super::json::{Members, cut_out, each, object, string};
use super::{Http, Refusal, answer, finish, query};
use crate::draft::{Dialect, Draft};
use crate::emit::Came;

pub(super) const QUEUE: &str = "/v1/api/{project}/eventing/queue";
pub(super) const OLD_QUEUE: &str = "/v1/api/{project}/event-triggers/queue";
pub(super) const ADMIN_QUEUE: &str = "/v1/api/{project}/eventing/admin-queue";

const ALLOWED: &str =
    "type, payload (or data), delay, delay_unit, timestamp, options, isSynchronous";

/// Only Space Cloud itself tells of these.
const INTERNAL: [u32; 5] = [1000, 1001, 1002, 1100, 1102];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    /// Unit of `delay`, where the body names none: `ms` (as the code has it) or `s` (as the
    /// documents say).
    delay_unit: Option<String>,
}

/// An event, and whether its answer is waited for.
#[derive(Debug)]
struct Queued {
    draft: Draft,
    is_synchronous: bool,
}

#[derive(Serialize)]
struct Done {}

#[derive(Serialize)]
struct SynchronousDone {
    result: Box<RawValue>,
}

pub(super) async fn queue(
    State(http): State<Arc<Http>>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    let options = query(&request);
    finish(request, async |headers, body| {
        http.queue(&project, &options?, headers, body).await
    })
    .await
}

pub(super) async fn admin_queue(
    State(http): State<Arc<Http>>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    let options = query(&request);
    finish(request, async |headers, body| {
        http.admin_queue(&project, &options?, headers, body).await
    })
    .await
}

impl Http {
    async fn queue(
        &self,
        project: &str,
        options: &Options,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<Response, Refusal> {
        let call = self.call(headers, project, Scope::Emit, Dialect::SpaceCloud)?;
        let _room = self.door.room(self.expected_bytes(headers)?)?;
        let body = self.read(body).await?;
        let queued = read(&object(&body)?, &body, options)?;
        refuse_internal(&queued.draft)?;
        if !queued.is_synchronous {
            self.door.emit(&call, queued.draft, None).await?;
            return Ok(answer::json(StatusCode::OK, &Done {}));
        }
        let waited = self.door.emit_and_wait(&call, queued.draft, None, WAIT);
        let waited = waited.await?;
        Ok(match &waited.came {
            Came::Verdict(Verdict::Answered(answered)) => {
                let result = response_in(answer::result(answered));
                answer::json(StatusCode::OK, &SynchronousDone { result })
            }
            came => answer::nothing(&waited.accepted, came),
        })
    }

    async fn admin_queue(
        &self,
        project: &str,
        options: &Options,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<Response, Refusal> {
        let call = self.call(headers, project, Scope::Manage, Dialect::SpaceCloud)?;
        let _room = self.door.room(self.expected_bytes(headers)?)?;
        let body = self.read(body).await?;
        let members = object(&body)?;
        let allowed = r#"{"events": [ … ]}"#;
        let events = members.get("events");
        let events = events.ok_or_else(|| Fault::missing("events", allowed))?;
        let drafts = each(events.get().as_bytes(), |members| {
            let queued = read(members, &body, options)?;
            if queued.is_synchronous {
                let message = "is for an event that is queued alone";
                return Err(Fault::invalid("isSynchronous", "true", message, "false"));
            }
            Ok(queued.draft)
        })?;
        self.door.emit_all(&call, drafts, None).await?;
        Ok(answer::json(StatusCode::OK, &Done {}))
    }
}

/// `response` of the function's answer where it has one, as Space Cloud's functions answer.
fn response_in(result: Box<RawValue>) -> Box<RawValue> {
    #[derive(Deserialize)]
    struct Answer {
        response: Option<Box<RawValue>>,
    }
    let is_object = result.get().starts_with('{');
    let answer = is_object.then(|| serde_json::from_str::<Answer>(result.get()));
    match answer {
        Some(Ok(Answer {
            response: Some(response),
        })) => response,
        _ => result,
    }
}

fn refuse_internal(draft: &Draft) -> Result<(), Fault> {
    let Some(name) = &draft.event_type else {
        return Ok(());
    };
    let number = EventType::parse(name).ok().and_then(|known| known.number());
    if number.is_some_and(|number| INTERNAL.contains(&number)) {
        let message = "is told by Space Cloud alone: cannot create internal event";
        let allowed = "a type of your own; …/eventing/admin-queue takes these too";
        return Err(Fault::invalid("type", name, message, allowed));
    }
    Ok(())
}

/// # Errors
/// When a member is not known, or cannot be what it is.
fn read(members: &Members<'_>, body: &Bytes, options: &Options) -> Result<Queued, Fault> {
    let mut draft = Draft::default();
    let mut payload: Option<(&str, &RawValue)> = None;
    let (mut delay, mut unit) = (None, options.delay_unit.clone());
    let mut is_synchronous = false;
    for (name, value) in members.iter() {
        match name {
            "type" => draft.event_type = Some(string(name, value)?),
            "payload" | "data" => {
                if let Some((other, _)) = payload.replace((name, value)) {
                    let message = format!("is there beside {other}, which means the same");
                    return Err(Fault::invalid(name, "", message, "one of the two"));
                }
            }
            "timestamp" => draft.deliver_at = Some(moment(name, &text_or_number(name, value)?)?),
            "delay" => delay = Some(value),
            "delay_unit" => unit = Some(string(name, value)?),
            "options" => {
                draft.extensions = serde_json::from_str(value.get()).map_err(|error| {
                    let message = format!("cannot be read: {error}");
                    Fault::invalid(name, value.get(), message, "an object of strings")
                })?;
            }
            "isSynchronous" => {
                is_synchronous = serde_json::from_str(value.get()).map_err(|_other| {
                    Fault::invalid(name, value.get(), "is no boolean", "true or false")
                })?;
            }
            other => {
                let message = "is not a member of an event";
                return Err(Fault::invalid(other, "", message, ALLOWED));
            }
        }
    }
    if let Some((_, payload)) = payload {
        draft.data = cut_out(body, payload);
        draft.is_data_known_json = true;
    }
    if let Some(delay) = delay {
        let delay = read_delay(delay, unit.as_deref())?;
        draft.deliver_at = put_off(draft.deliver_at, delay)?;
    }
    Ok(Queued {
        draft,
        is_synchronous,
    })
}

/// A string's content, or the digits of a number.
fn text_or_number(name: &str, value: &RawValue) -> Result<String, Fault> {
    if value.get().starts_with('"') {
        string(name, value)
    } else {
        Ok(value.get().to_owned())
    }
}

fn read_delay(value: &RawValue, unit: Option<&str>) -> Result<Duration, Fault> {
    let number: Option<u64> = serde_json::from_str(value.get()).ok();
    let number = number.ok_or_else(|| {
        let allowed = "a whole number from 0, of milliseconds or of delay_unit";
        Fault::invalid("delay", value.get(), "is not such a number", allowed)
    })?;
    match unit {
        None | Some("ms") => Ok(Duration::from_millis(number)),
        Some("s") => Ok(Duration::from_secs(number)),
        Some(other) => Err(Fault::invalid(
            "delay_unit",
            other,
            "is not a unit of delays",
            "ms or s",
        )),
    }
}

/// A delay counts from the timestamp, where there is one.
fn put_off(timestamp: Option<Timestamp>, delay: Duration) -> Result<Option<Timestamp>, Fault> {
    if delay.is_zero() {
        return Ok(timestamp);
    }
    let from = timestamp.unwrap_or_else(Timestamp::now);
    from.saturating_add(delay).map(Some).map_err(|_too_far| {
        let value = format!("{} ms", delay.as_millis());
        let allowed = "at most 6 days ahead, a day less than logs are kept";
        Fault::invalid("delay", value, "is too far ahead", allowed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(body: &str) -> Result<Queued, Fault> {
        let body = Bytes::from(body.to_owned());
        read(&object(&body)?, &body, &Options::default())
    }

    fn field(body: &str) -> Option<String> {
        queued(body).unwrap_err().field
    }

    #[test]
    fn s2_27_payload_and_data_are_one_and_a_delay_is_of_milliseconds_unless_it_says_else() {
        for name in ["payload", "data"] {
            let body = format!(r#"{{"type":"order-placed","{name}":{{"orderId":7}}}}"#);
            assert_eq!(queued(&body).unwrap().draft.data, r#"{"orderId":7}"#);
        }
        assert_eq!(
            field(r#"{"type":"a","payload":1,"data":2}"#).unwrap(),
            "data"
        );
        let at = |rest: &str| {
            let body = format!(r#"{{"type":"a","timestamp":1000{rest}}}"#);
            let deliver_at = queued(&body).unwrap().draft.deliver_at.unwrap();
            deliver_at.as_millisecond()
        };
        assert_eq!(at(""), 1_000);
        assert_eq!(at(r#","delay":60"#), 1_060, "milliseconds");
        assert_eq!(at(r#","delay":60,"delay_unit":"ms""#), 1_060);
        assert_eq!(at(r#","delay":60,"delay_unit":"s""#), 61_000);
        assert_eq!(
            field(r#"{"type":"a","delay":1,"delay_unit":"h"}"#).unwrap(),
            "delay_unit"
        );
        for bad in ["-1", "1.5", r#""soon""#] {
            let body = format!(r#"{{"type":"a","delay":{bad}}}"#);
            assert_eq!(field(&body).unwrap(), "delay", "{bad}");
        }
    }

    #[test]
    fn s2_26_a_delay_is_added_to_the_timestamp_or_to_now() {
        let at = |body: &str| queued(body).unwrap().draft.deliver_at.unwrap();
        let given = at(r#"{"type":"a","timestamp":"2026-11-22T10:00:00Z","delay":1500}"#);
        assert_eq!(given.to_string(), "2026-11-22T10:00:01.5Z");
        let before = Timestamp::now();
        let from_now = at(r#"{"type":"a","delay":60000}"#);
        let minute = from_now.duration_since(before).as_secs();
        assert!((60..=62).contains(&minute), "{minute}");
    }

    #[test]
    fn s2_28_a_timestamp_is_rfc_3339_or_milliseconds_and_anything_else_is_refused() {
        let at = |time: &str| {
            let body = format!(r#"{{"type":"a","timestamp":{time}}}"#);
            queued(&body).map(|queued| queued.draft.deliver_at.unwrap().as_millisecond())
        };
        assert_eq!(at(r#""2026-11-22T10:00:00Z""#), Ok(1_795_341_600_000));
        assert_eq!(at("1795341600000"), Ok(1_795_341_600_000));
        for bad in [r#""tomorrow""#, "1.5", "true", "{}", r#""2026-11-22""#] {
            let fault = at(bad).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some("timestamp"), "{bad}");
        }
    }

    #[test]
    fn s2_29_the_five_types_of_space_clouds_own_are_refused() {
        let refused = |name: &str| {
            refuse_internal(&Draft {
                event_type: Some(name.to_owned()),
                ..Draft::default()
            })
        };
        for own in [
            "DB_INSERT",
            "DB_UPDATE",
            "DB_DELETE",
            "FILE_CREATE",
            "FILE_DELETE",
            "storage.row.insert",
        ] {
            let fault = refused(own).unwrap_err();
            assert!(fault.message.contains("internal event"), "{own}");
        }
        assert_eq!(refused("order-placed"), Ok(()));
    }

    #[test]
    fn a_member_that_nobody_knows_is_refused_by_name() {
        assert_eq!(field(r#"{"type":"a","paylod":1}"#).unwrap(), "paylod");
        let options = field(r#"{"type":"a","options":{"db":1}}"#);
        assert_eq!(options.unwrap(), "options");
        assert!(
            queued(r#"{"type":"a","isSynchronous":true}"#)
                .unwrap()
                .is_synchronous
        );
    }

    #[test]
    fn the_result_is_the_response_of_the_answer_where_it_has_one() {
        let result = |answer: &str| {
            let answer = RawValue::from_string(answer.to_owned()).unwrap();
            response_in(answer).get().to_owned()
        };
        assert_eq!(result(r#"{"response":{"a":1}}"#), r#"{"a":1}"#);
        assert_eq!(result(r#"{"other":1}"#), r#"{"other":1}"#);
        assert_eq!(result("[1]"), "[1]");
    }
}
