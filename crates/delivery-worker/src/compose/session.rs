//! The session by which a function acts for the user whose event it is called for.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::delivery::{ErrorClass, Outcome, Target};
use domain::event::Event;
use domain::format::Format;
use domain::session::{Attempt, Session};
use domain::token::TokenKeys;
use domain::trigger::Trigger;
use uuid::Uuid;

use super::impossible;

/// Makes the session of one attempt; none where nobody acted.
///
/// # Errors
/// The outcome of the attempt, when a session is owed and none can be made.
pub fn mint(
    event: &Event,
    target: &Target,
    keys: Option<&Arc<TokenKeys>>,
    now: Timestamp,
    lifetime: Duration,
) -> Result<Option<String>, Outcome> {
    let attempt = Attempt {
        event,
        function: &target.function,
        delivery: target.delivery,
        now,
        lifetime,
    };
    let Some(session) = Session::of(&attempt, Uuid::new_v4().to_string()) else {
        return Ok(None);
    };
    // It is made when the system is set up, or a moment after this release came.
    let key = keys.and_then(|keys| keys.signing(now));
    let key = key.ok_or_else(|| Outcome::Unreachable {
        class: ErrorClass::Render,
        message: "there is no key yet that signs function sessions".to_owned(),
    })?;
    let token = session.sign(key);
    token
        .map(Some)
        .map_err(|error| impossible(ErrorClass::Render, error.to_string()))
}

/// Whether the body has a place for the session, so that no header carries it.
pub(super) fn is_in_body(trigger: &Trigger, format: Format) -> bool {
    trigger.template.is_none() && matches!(format.as_str(), "schmuckli" | "extremum")
}
