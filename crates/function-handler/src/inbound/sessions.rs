//! `SessionService`, and the same question by HTTP as RFC 7662 asks it: whether a session is in force.

mod http;

use domain::access::Scope;
use domain::name::ProjectName;
use domain::session::{RevocationSubject, Session, SessionRevocation};
use protocol::access::{PROJECT_HEADER, authorise_named};
use protocol::fault::{Fault, FaultKind};
use protocol::sessions::v1 as wire;
use protocol::sessions::v1::session_service_server::SessionService;
use protocol::to_timestamp;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::info;

pub(crate) use self::http::router;
use super::{Desk, now};
use crate::error::of_storage;

/// An actor's id is an attribute of events.
const ACTOR_BYTES_MAX: usize = domain::event::ATTRIBUTE_BYTES_MAX;

/// Serves sessions. Clones share the desk.
#[derive(Debug, Clone)]
pub struct Sessions {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn introspect_session(
        &self,
        request: Request<wire::IntrospectSessionRequest>,
    ) -> Result<Response<wire::IntrospectSessionResponse>, Status> {
        let project = self.asking(request.metadata())?;
        let token = request.into_inner().token;
        if token.is_empty() {
            return Err(Fault::missing("token", "a function session").into());
        }
        let session = self.in_force(&project, &token);
        Ok(Response::new(wire::IntrospectSessionResponse {
            active: session.is_some(),
            session: session.as_ref().map(Into::into),
        }))
    }

    async fn revoke_sessions(
        &self,
        request: Request<wire::RevokeSessionsRequest>,
    ) -> Result<Response<wire::RevokeSessionsResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let actor = request.into_inner().actor_id;
        let allowed = format!("the id of a user, 1 to {ACTOR_BYTES_MAX} bytes");
        if actor.is_empty() {
            return Err(Fault::missing("actor_id", allowed).into());
        }
        if actor.len() > ACTOR_BYTES_MAX || actor.contains(char::is_control) {
            let message = "is no actor's id";
            return Err(Fault::invalid("actor_id", actor, message, allowed).into());
        }
        let revocation = SessionRevocation {
            project,
            subject: RevocationSubject::Actor(actor),
            at: now(),
            revision: 0,
        };
        self.desk.revoke_sessions(&revocation).await?;
        Ok(Response::new(wire::RevokeSessionsResponse {
            revoked_at: Some(to_timestamp(revocation.at)),
        }))
    }
}

impl Sessions {
    /// The project that asks: with a key that may read, or one that may emit.
    fn asking(&self, metadata: &MetadataMap) -> Result<ProjectName, Fault> {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        self.asking_as(text("authorization"), text(PROJECT_HEADER))
    }

    fn asking_as(
        &self,
        authorization: Option<&str>,
        named: Option<&str>,
    ) -> Result<ProjectName, Fault> {
        let gate = &self.desk.gate;
        gate.known()?;
        let registry = gate.view.read();
        let required = gate.access.keys_required;
        let asking = |scope| authorise_named(&registry, authorization, named, scope, required);
        match asking(Scope::Read) {
            Err(fault) if fault.kind == FaultKind::Forbidden => asking(Scope::Emit),
            decided => decided,
        }
    }

    /// The session, if it is in force and the project's own.
    fn in_force(&self, project: &ProjectName, token: &str) -> Option<Session> {
        let session = self.desk.gate.view.read_session(token).ok()?;
        (session.project == *project).then_some(session)
    }
}

impl Desk {
    /// Ends sessions; when this returns this replica has them ended, and the others soon.
    pub(crate) async fn revoke_sessions(
        &self,
        revocation: &SessionRevocation,
    ) -> Result<(), Fault> {
        let store = self.index.store();
        let revoked = store.revoke_sessions(revocation).await;
        let revision = revoked.map_err(of_storage)?;
        self.catch_up(revision).await;
        info!(project = %revocation.project, of = revocation.subject.kind(), revision, "sessions revoked");
        Ok(())
    }
}
