//! `KeyService`: a project's API keys.

use domain::access::Scope;
use protocol::fault::Fault;
use protocol::projects::v1 as wire;
use protocol::projects::v1::key_service_server::KeyService;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{Desk, now};
use crate::error::of_storage;
use crate::make_secrets::make_key;

/// A note may have this many characters.
const NOTE_CHARS_MAX: usize = 200;

/// Public parts are random: two keys hardly ever get the same, and more never do.
const TRIES_MAX: u32 = 3;

/// Serves keys.
#[derive(Debug, Clone)]
pub struct Keys {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl KeyService for Keys {
    async fn create_key(
        &self,
        request: Request<wire::CreateKeyRequest>,
    ) -> Result<Response<wire::CreateKeyResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let scopes = scopes(&request.scopes)?;
        check_note(&request.note)?;
        let store = self.desk.index.store();
        let mut tries = 1;
        let (key, revision) = loop {
            let note = request.note.clone();
            let key = make_key(&project, scopes.clone(), note, now())?;
            match store.create_key(&key.stored).await {
                Ok(revision) => break (key, revision),
                Err(storage::Error::AlreadyExists { .. }) if tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(of_storage(error).into()),
            }
        };
        self.desk.catch_up(revision).await;
        info!(%project, key = %key.stored.id, revision, "key created");
        let shown = wire::Key::from(&key.stored);
        Ok(Response::new(wire::CreateKeyResponse {
            key: Some(shown),
            secret: key.text,
        }))
    }

    async fn list_keys(
        &self,
        request: Request<wire::ListKeysRequest>,
    ) -> Result<Response<wire::ListKeysResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let keys = self
            .desk
            .index
            .store()
            .keys(&project)
            .await
            .map_err(of_storage)?;
        let keys = keys.iter().map(Into::into).collect();
        Ok(Response::new(wire::ListKeysResponse { keys }))
    }

    async fn revoke_key(
        &self,
        request: Request<wire::RevokeKeyRequest>,
    ) -> Result<Response<wire::RevokeKeyResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let id = request.into_inner().id;
        if id.is_empty() {
            return Err(Fault::missing("id", "the key's public part, tlk_…").into());
        }
        let store = self.desk.index.store();
        let key = store
            .revoke_key(&project, &id, now())
            .await
            .map_err(of_storage)?;
        self.desk.catch_up(key.revision).await;
        info!(%project, key = %key.id, revision = key.revision, "key revoked");
        Ok(Response::new(wire::RevokeKeyResponse {
            key: Some((&key).into()),
        }))
    }
}

fn scopes(texts: &[String]) -> Result<Vec<Scope>, Fault> {
    let allowed = Scope::ALL.map(Scope::as_str).join(", ");
    if texts.is_empty() {
        return Err(Fault::missing(
            "scopes",
            format!("at least one of {allowed}"),
        ));
    }
    let parsed = texts.iter().enumerate().map(|(place, text)| {
        Scope::parse(text).ok_or_else(|| {
            Fault::invalid(
                format!("scopes[{place}]"),
                text,
                "is not a scope",
                allowed.as_str(),
            )
        })
    });
    parsed.collect()
}

fn check_note(note: &str) -> Result<(), Fault> {
    if note.chars().count() > NOTE_CHARS_MAX || note.chars().any(char::is_control) {
        let allowed = format!("at most {NOTE_CHARS_MAX} characters on one line");
        return Err(Fault::invalid("note", note, "is not a note", allowed));
    }
    Ok(())
}
