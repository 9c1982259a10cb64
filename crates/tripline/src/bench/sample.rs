//! The events that are sent: all alike but for their ids, and written once.

use bytes::Bytes;
use protocol::events::v1::NewEvent;

/// One member of the data, as long as members of real events often are.
const MEMBER: &str = r#""member_000":"the quick brown fox jumps","#;
const LAST_MEMBER: &str = r#""rest":"""#;

/// An event without its id.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// In turn.
    event_types: Vec<String>,
    data: Bytes,
    /// The rest of a request's body, behind the id.
    tail: String,
}

impl Sample {
    pub(crate) fn new(event_type: &str, payload_bytes: usize) -> Self {
        Self::of(vec![event_type.to_owned()], payload_bytes)
    }

    /// Events of so many types, one after the other.
    pub(crate) fn spread(event_type: &str, types: usize, payload_bytes: usize) -> Self {
        let numbered = (1..=types.max(1)).map(|number| format!("{event_type}.t{number}"));
        Self::of(numbered.collect(), payload_bytes)
    }

    fn of(event_types: Vec<String>, payload_bytes: usize) -> Self {
        let data = data_of(payload_bytes);
        Self {
            event_types,
            tail: format!(r#"","data":{data}}}"#),
            data: data.into(),
        }
    }

    pub(crate) fn event_type(&self, event: usize) -> &str {
        let number = event.checked_rem(self.event_types.len());
        let found = number.and_then(|number| self.event_types.get(number));
        found.map_or("", String::as_str)
    }

    pub(crate) fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// What a ledger knows an event by. It is sent as the subject, so that the door, as with most
    /// clients, has no id to look for repeats by.
    pub(crate) fn id(tag: &str, event: usize) -> String {
        format!("{tag}-{event}")
    }

    /// The number of the event that a ledger knows by this.
    pub(crate) fn event_of(id: &str) -> Option<usize> {
        id.rsplit_once('-')?.1.parse().ok()
    }

    /// The event as the body of a POST.
    pub(crate) fn json(&self, tag: &str, event: usize) -> Bytes {
        let (event_type, id) = (self.event_type(event), Self::id(tag, event));
        let head = [r#"{"type":""#, event_type, r#"","subject":""#, &id];
        Bytes::from([head.concat(), self.tail.clone()].concat())
    }

    /// The event as gRPC takes it.
    pub(crate) fn message(&self, tag: &str, event: usize) -> NewEvent {
        NewEvent {
            subject: Self::id(tag, event),
            r#type: self.event_type(event).to_owned(),
            data: self.data.clone(),
            ..NewEvent::default()
        }
    }
}

/// A JSON object of exactly this many bytes, 16 at least.
fn data_of(bytes: usize) -> String {
    let mut data = String::with_capacity(bytes);
    data.push('{');
    let mut number = 0;
    // After the last member comes only the closing brace.
    while data.len() + MEMBER.len() + LAST_MEMBER.len() < bytes {
        data.push_str(&MEMBER.replace("000", &format!("{:03}", number % 1000)));
        number += 1;
    }
    let filler = bytes.saturating_sub(data.len() + LAST_MEMBER.len() + 1);
    data.push_str(LAST_MEMBER.trim_end_matches('"'));
    data.push('"');
    data.extend(std::iter::repeat_n('x', filler));
    data.push_str("\"}");
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_of_the_size_asked_for() {
        for bytes in [16, 17, 60, 61, 500, 4_096, 262_144] {
            let data = data_of(bytes);
            assert_eq!(data.len(), bytes);
            let value: serde_json::Value = serde_json::from_str(&data).unwrap();
            assert!(value.is_object());
        }
    }

    #[test]
    fn both_doors_are_given_the_same_event() {
        let sample = Sample::new("bench.1", 100);
        let body: serde_json::Value = serde_json::from_slice(&sample.json("run", 7)).unwrap();
        let message = sample.message("run", 7);
        assert_eq!(body["subject"], "run-7");
        assert_eq!(body["subject"], message.subject.as_str());
        assert_eq!(body["type"], message.r#type.as_str());
        let data: serde_json::Value = serde_json::from_slice(&message.data).unwrap();
        assert_eq!(body["data"], data);
    }
}
