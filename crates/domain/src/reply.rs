//! What is told to whoever waits for the answer of a function to an event.
//!
//! Such an event goes the way of all events. Beside it goes where its emitter waits: there the one
//! who matches tells how many deliveries there are, and who delivers what came of each. A reply
//! that is lost makes somebody wait in vain; the event and its deliveries do not depend on it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::id::EventId;
use crate::name::FunctionName;

/// How long is waited where nobody says otherwise, at least and at most.
pub const WAIT: Duration = Duration::from_secs(10);
pub const WAIT_MIN: Duration = Duration::from_millis(10);
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Where one replica of the door waits for replies: a queue that lives and dies with it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyAddress(Arc<str>);

/// What is no address of replies. Nothing else may be written to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not an address of replies")]
pub struct NotAnAddress;

const PREFIX: &str = "replies.v1.";

impl ReplyAddress {
    /// Of a replica, by a number that no other has.
    pub fn of(unique: u128) -> Self {
        Self(format!("{PREFIX}{unique:032x}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplyAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAnAddress)?;
        let is_address = digits.len() == 32
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_address {
            Ok(Self(text.into()))
        } else {
            Err(NotAnAddress)
        }
    }
}

impl fmt::Display for ReplyAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ReplyAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One thing that is told to who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub event: EventId,
    pub said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// So many deliveries there are.
    Matched { deliveries: u32 },
    /// A function accepted the event, and answered this.
    Answered(Answered),
    /// A delivery ended without success.
    Failed,
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub function: FunctionName,
    /// 200 to 299.
    pub status: u16,
    pub content_type: Option<String>,
    /// As much of it as the log keeps.
    pub body: Bytes,
    pub is_truncated: bool,
}

/// What waiting came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The first function that answered; others may follow, and nobody hears of them.
    Answered(Answered),
    /// Nobody asked for the event.
    NoMatch,
    /// Every delivery has ended, and none with success.
    AllFailed,
}

/// What has been heard of one event so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    matched: Option<u32>,
    failed: u32,
}

impl Heard {
    /// Takes what is said; the verdict, once there is one. Replies may come in any order.
    pub fn hear(&mut self, said: Said) -> Option<Verdict> {
        match said {
            Said::Answered(answered) => return Some(Verdict::Answered(answered)),
            Said::Matched { deliveries: 0 } => return Some(Verdict::NoMatch),
            Said::Matched { deliveries } => self.matched = Some(deliveries),
            Said::Failed => self.failed = self.failed.saturating_add(1),
        }
        let is_over = self.matched.is_some_and(|matched| self.failed >= matched);
        is_over.then_some(Verdict::AllFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered() -> Answered {
        Answered {
            function: "welcome".parse().unwrap(),
            status: 200,
            content_type: None,
            body: Bytes::new(),
            is_truncated: false,
        }
    }

    #[test]
    fn the_first_answer_counts_even_before_it_is_known_how_many_there_are() {
        let mut heard = Heard::default();
        assert_eq!(heard.hear(Said::Failed), None);
        let said = Said::Answered(answered());
        assert_eq!(heard.hear(said), Some(Verdict::Answered(answered())));
    }

    #[test]
    fn s2_40_without_a_match_the_verdict_is_there_at_once() {
        let said = Said::Matched { deliveries: 0 };
        assert_eq!(Heard::default().hear(said), Some(Verdict::NoMatch));
    }

    #[test]
    fn when_all_deliveries_have_failed_nothing_is_waited_for() {
        let mut heard = Heard::default();
        assert_eq!(heard.hear(Said::Failed), None);
        assert_eq!(heard.hear(Said::Matched { deliveries: 2 }), None);
        assert_eq!(heard.hear(Said::Failed), Some(Verdict::AllFailed));
    }

    #[test]
    fn only_queues_of_replies_are_addresses() {
        let address = ReplyAddress::of(7);
        assert_eq!(address.as_str().parse(), Ok(address));
        for other in [
            "",
            "events.v1.0",
            "replies.v1.",
            "replies.v1.zz",
            "replies.v1.0000000000000000000000000000000G",
        ] {
            assert_eq!(other.parse::<ReplyAddress>(), Err(NotAnAddress), "{other}");
        }
    }
}
