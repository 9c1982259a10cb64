//! An event, a function and a trigger for tests of rules that look at few of their fields.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Event;
use crate::event_type::EventType;
use crate::format::Format;
use crate::function::{Credentials, Function, FunctionSettings, parse_url};
use crate::id::EventId;
use crate::retry::RetryPolicy;
use crate::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};

pub(crate) fn event(number: u8) -> Event {
    let at = Timestamp::from_second(1_795_000_000).unwrap();
    let eid = EventId::new(at, [number; 10]);
    Event {
        eid,
        project: "default".parse().unwrap(),
        id: eid.to_string(),
        source: "/projects/default".to_owned(),
        event_type: EventType::parse("shop.order.paid").unwrap(),
        subject: None,
        time: at,
        accepted_at: at,
        data_content_type: Some("application/json".to_owned()),
        data: r#"{"n":1}"#.into(),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: BTreeMap::new(),
    }
}

pub(crate) fn function(name: &str) -> Function {
    Function {
        project: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        url: parse_url("https://function.example/").unwrap(),
        format: Format::default(),
        secret: String::new(),
        signing_secret: String::new(),
        settings: FunctionSettings::default(),
        credentials: Credentials::default(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    }
}

/// A trigger that calls the function of its own name for every event.
pub(crate) fn trigger(name: &str) -> Trigger {
    Trigger {
        project: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        function: name.parse().unwrap(),
        is_enabled: true,
        on: Vec::new(),
        subject: None,
        prefix: None,
        suffix: None,
        options: BTreeMap::new(),
        filter: None,
        format: None,
        template: None,
        retry: RetryPolicy::default(),
        ordering: Ordering::default(),
        backlog: Backlog::default(),
        depth_max: DEPTH_MAX,
        script: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    }
}
