//! `tripline sessions`: whether one is in force, and the end of those of a user.

use protocol::sessions::v1 as sessions;
use serde::Serialize;

use super::{read_data, show_time};
use crate::command_line::{Connection, Sessions};
use crate::failure::Failure;
use crate::output;

/// A session as printed; one that is not in force says nothing else.
#[derive(Debug, Default, Serialize)]
struct ShownSession {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Said>,
}

#[derive(Debug, Serialize)]
struct Said {
    id: String,
    project: String,
    actor: String,
    actor_kind: String,
    function: String,
    delivery: String,
    event: String,
    depth: u32,
    issued_at: String,
    expires_at: String,
}

impl From<sessions::Session> for Said {
    fn from(session: sessions::Session) -> Self {
        Self {
            issued_at: show_time(session.issued_at.as_ref()),
            expires_at: show_time(session.expires_at.as_ref()),
            id: session.id,
            project: session.project,
            actor: session.actor_id,
            actor_kind: session.actor_kind,
            function: session.function,
            delivery: session.delivery,
            event: session.event,
            depth: session.depth,
        }
    }
}

/// That the sessions of a user are ended.
#[derive(Debug, Serialize)]
struct Revoked {
    actor: String,
    revoked_at: String,
}

pub(crate) async fn run(command: Sessions, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.sessions()?;
    match command {
        Sessions::Introspect { token } => {
            let token = read_data(&token)?;
            let token = String::from_utf8_lossy(&token).trim().to_owned();
            let request = sessions::IntrospectSessionRequest { token };
            let answer = client.introspect_session(request).await?.into_inner();
            let shown = ShownSession {
                active: answer.active,
                session: answer.session.map(Into::into),
            };
            let mut fields = vec![("active", shown.active.to_string())];
            if let Some(said) = &shown.session {
                fields.extend([
                    ("actor", said.actor.clone()),
                    ("function", said.function.clone()),
                    ("delivery", said.delivery.clone()),
                    ("event", said.event.clone()),
                    ("issued", said.issued_at.clone()),
                    ("expires", said.expires_at.clone()),
                ]);
            }
            output::one(connection.output, &shown, &fields)
        }
        Sessions::Revoke { actor } => {
            let request = sessions::RevokeSessionsRequest {
                actor_id: actor.clone(),
            };
            let answer = client.revoke_sessions(request).await?.into_inner();
            let revoked = Revoked {
                actor,
                revoked_at: show_time(answer.revoked_at.as_ref()),
            };
            let fields = [
                ("actor", revoked.actor.clone()),
                ("revoked", revoked.revoked_at.clone()),
            ];
            output::one(connection.output, &revoked, &fields)
        }
    }
}
