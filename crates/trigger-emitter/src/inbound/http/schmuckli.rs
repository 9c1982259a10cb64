//! schmuckliCloud's form of an event: its number, and its fields beside it.

use domain::event_type::EventType;
use protocol::fault::Fault;
use serde_json::value::RawValue;

use super::json::{Members, number};
use crate::draft::Draft;

/// The member by which the form is known.
pub(super) const EVENT_ID: &str = "_event_id";

/// What a function is sent beside the event's own fields: no fields of the event.
const NOT_FIELDS: [&str; 4] = [EVENT_ID, "_event_name", "_secret", "_function_session"];

/// # Errors
/// When no type has the number.
pub(super) fn read(members: &Members<'_>) -> Result<Draft, Fault> {
    let event_id = members.get(EVENT_ID).map(RawValue::get).unwrap_or_default();
    let known = match members.get(EVENT_ID) {
        Some(value) => EventType::from_number(number(EVENT_ID, value)?),
        None => None,
    };
    let known = known.ok_or_else(|| {
        let allowed = "a number such as 1000, 1001, 1002, 2000 or 2001";
        Fault::invalid(EVENT_ID, event_id, "no type has this number", allowed)
    })?;
    let mut data = Vec::from(*b"{");
    for (name, value) in members.iter() {
        if NOT_FIELDS.contains(&name) {
            continue;
        }
        if data.len() > 1 {
            data.push(b',');
        }
        let name = serde_json::to_vec(name)
            .map_err(|error| Fault::invalid(name, "", error.to_string(), "the name of a field"))?;
        data.extend_from_slice(&name);
        data.push(b':');
        data.extend_from_slice(value.get().as_bytes());
    }
    data.push(b'}');
    Ok(Draft {
        event_type: Some(known.as_str().to_owned()),
        data: data.into(),
        is_data_known_json: true,
        ..Draft::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::json::object;
    use super::*;

    #[test]
    fn s1_02_an_event_is_known_by_its_number_and_its_fields_stand_beside_it() {
        let body = br#"{"_event_id":1000,"_event_name":"STORAGE_INSERT","row_id":42,
            "container":"orders","bucket":7,"dataset":"main","_secret":"s","_function_session":null}"#;
        let draft = read(&object(body).unwrap()).unwrap();
        assert_eq!(draft.event_type.as_deref(), Some("storage.row.insert"));
        let expected = r#"{"row_id":42,"container":"orders","bucket":7,"dataset":"main"}"#;
        assert_eq!(draft.data, expected);
        for bad in [r#"{"_event_id":7}"#, r#"{"_event_id":"x"}"#] {
            let fault = read(&object(bad.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(EVENT_ID));
        }
    }
}
