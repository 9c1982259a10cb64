//! What can be set about calling a function directly: its other name, its parameters, its answer.

use super::FunctionSettings;
use super::limits::{SettingsError, fault};
use crate::event_type::EventType;

/// A JSON Schema may be this long.
pub const PARAMETERS_SCHEMA_BYTES_MAX: usize = 64 * 1024;

const ENDPOINT_BYTES_MAX: usize = 128;

/// Kii keeps these names to itself.
const ENDPOINT_RESERVED: &str = "__kii_";

const ENDPOINT_ALLOWED: &str =
    "1 to 128 of A-Z a-z 0-9 _ $, not beginning with a digit or with __kii_";
const HANDLERS_ALLOWED: &str = "main exactly once, and on_storage_trigger, on_signal, \
     pre_process, post_process, queued, schedule at most once each";

/// What the caller of a direct call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerShape {
    /// The result of the function and nothing else, as extremum's documents say.
    #[default]
    Raw,
    /// `{"status", "code", "timestamp", "result"}`, as extremum's library does.
    Enveloped,
}

impl AnswerShape {
    pub const ALL: [Self; 2] = [Self::Raw, Self::Enveloped];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Enveloped => "enveloped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.as_str() == text)
    }
}

/// A method of a function: what kind of call it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    /// Direct calls, and whatever has no method of its own.
    Main,
    OnStorageTrigger,
    OnSignal,
    PreProcess,
    PostProcess,
    Queued,
    Schedule,
}

impl Handler {
    pub const ALL: [Self; 7] = [
        Self::Main,
        Self::OnStorageTrigger,
        Self::OnSignal,
        Self::PreProcess,
        Self::PostProcess,
        Self::Queued,
        Self::Schedule,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::OnStorageTrigger => "on_storage_trigger",
            Self::OnSignal => "on_signal",
            Self::PreProcess => "pre_process",
            Self::PostProcess => "post_process",
            Self::Queued => "queued",
            Self::Schedule => "schedule",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The method that an event of this type is for.
    pub fn of(event_type: &EventType) -> Self {
        match event_type.number() {
            Some(1100..=1102) => Self::OnStorageTrigger,
            Some(4000) => Self::OnSignal,
            Some(5000) => Self::Schedule,
            Some(6000) => Self::PreProcess,
            Some(6001) => Self::PostProcess,
            Some(6002) => Self::Queued,
            _ => Self::Main,
        }
    }
}

impl FunctionSettings {
    /// The method of this function that an event of this type is for: the main one, where it has
    /// no other. `None` where nobody said what methods it has.
    pub fn handler_of(&self, event_type: &EventType) -> Option<Handler> {
        let wanted = Handler::of(event_type);
        let has = |handler| self.handlers.contains(&handler);
        match (self.handlers.is_empty(), has(wanted)) {
            (true, _) => None,
            (false, true) => Some(wanted),
            (false, false) => Some(Handler::Main),
        }
    }

    /// Checks what is said of direct calls; whether the schema is one is not looked at here.
    ///
    /// # Errors
    /// Names the first field that is not as it may be.
    pub(super) fn check_direct(&self) -> Result<(), SettingsError> {
        if let Some(endpoint) = &self.endpoint
            && !is_endpoint(endpoint)
        {
            let message = "is not the name of an endpoint";
            return Err(fault(
                "settings.endpoint",
                endpoint,
                message,
                ENDPOINT_ALLOWED,
            ));
        }
        if let Some(schema) = &self.parameters_schema
            && schema.len() > PARAMETERS_SCHEMA_BYTES_MAX
        {
            return Err(fault(
                "settings.parameters_schema",
                format_args!("{} bytes", schema.len()),
                "is too long",
                "at most 64 KiB",
            ));
        }
        self.check_handlers()
    }

    /// A function has one main method, neither none nor two.
    fn check_handlers(&self) -> Result<(), SettingsError> {
        let count = |handler| self.handlers.iter().filter(|one| **one == handler).count();
        let listed = || {
            let names: Vec<_> = self.handlers.iter().map(|one| one.as_str()).collect();
            names.join(", ")
        };
        if self.handlers.is_empty() {
            return Ok(());
        }
        let refused = |message| {
            Err(fault(
                "settings.handlers",
                listed(),
                message,
                HANDLERS_ALLOWED,
            ))
        };
        match count(Handler::Main) {
            0 => return refused("has no main method"),
            1 => {}
            _ => return refused("has more than one main method"),
        }
        if Handler::ALL.into_iter().any(|handler| count(handler) > 1) {
            return refused("names a method twice");
        }
        Ok(())
    }
}

fn is_endpoint(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$');
    (1..=ENDPOINT_BYTES_MAX).contains(&text.len())
        && text.bytes().next().is_some_and(is_letter)
        && text
            .bytes()
            .all(|byte| is_letter(byte) || byte.is_ascii_digit())
        && !text.starts_with(ENDPOINT_RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_handlers(handlers: &[Handler]) -> FunctionSettings {
        FunctionSettings {
            handlers: handlers.to_vec(),
            ..FunctionSettings::default()
        }
    }

    #[test]
    fn s4_07_a_function_has_exactly_one_main_method() {
        let check = |handlers: &[Handler]| with_handlers(handlers).check();
        assert_eq!(check(&[]), Ok(()), "nobody said");
        assert_eq!(check(&[Handler::Main]), Ok(()));
        assert_eq!(check(&Handler::ALL), Ok(()));
        let none = check(&[Handler::OnSignal]).unwrap_err();
        assert_eq!(none.message, "has no main method");
        assert_eq!(none.field, "settings.handlers");
        let two = check(&[Handler::Main, Handler::Main]).unwrap_err();
        assert_eq!(two.message, "has more than one main method");
        let twice = [Handler::Main, Handler::Queued, Handler::Queued];
        assert_eq!(check(&twice).unwrap_err().message, "names a method twice");
    }

    #[test]
    fn s4_14_storage_messages_are_for_on_storage_trigger_and_queue_messages_for_on_signal() {
        let of = |name: &str| Handler::of(&EventType::parse(name).unwrap());
        for kind in ["ObjectCreate", "ObjectUpdate", "ObjectDelete"] {
            let name = format!("yandex.cloud.events.storage.{kind}");
            assert_eq!(of(&name), Handler::OnStorageTrigger, "{name}");
        }
        let queue = "yandex.cloud.events.messagequeue.QueueMessage";
        assert_eq!(of(queue), Handler::OnSignal);
        assert_eq!(of("timer.schedule.fire"), Handler::Schedule);
        assert_eq!(of("AUTH_LOGIN"), Handler::Main);
        let signal = EventType::parse(queue).unwrap();
        let both = with_handlers(&[Handler::Main, Handler::OnSignal]);
        assert_eq!(both.handler_of(&signal), Some(Handler::OnSignal));
        let main = with_handlers(&[Handler::Main]);
        assert_eq!(main.handler_of(&signal), Some(Handler::Main));
        assert_eq!(with_handlers(&[]).handler_of(&signal), None);
    }

    #[test]
    fn an_endpoint_is_named_as_kii_names_functions() {
        let check = |endpoint: &str| {
            let settings = FunctionSettings {
                endpoint: Some(endpoint.to_owned()),
                ..FunctionSettings::default()
            };
            settings.check()
        };
        for good in ["main", "onOrderCreated", "_private", "$jq", "a"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "1st", "on-order", "a b", "__kii_task", "für"] {
            assert_eq!(check(bad).unwrap_err().field, "settings.endpoint", "{bad}");
        }
        assert!(check(&"a".repeat(129)).is_err());
    }

    #[test]
    fn names_of_handlers_and_answers_read_back() {
        for handler in Handler::ALL {
            assert_eq!(Handler::parse(handler.as_str()), Some(handler));
        }
        for shape in AnswerShape::ALL {
            assert_eq!(AnswerShape::parse(shape.as_str()), Some(shape));
        }
    }
}
