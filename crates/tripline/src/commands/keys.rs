//! `tripline keys`: who may call.

use protocol::projects::v1 as projects;
use serde::Serialize;

use super::show_time;
use crate::command_line::{Connection, Keys, Output};
use crate::failure::Failure;
use crate::output::{self, Row};

/// A key as printed, without the key itself.
#[derive(Debug, Serialize)]
struct ShownKey {
    id: String,
    scopes: Vec<String>,
    note: String,
    created_at: String,
    revoked_at: String,
}

impl From<projects::Key> for ShownKey {
    fn from(key: projects::Key) -> Self {
        Self {
            created_at: show_time(key.created_at.as_ref()),
            revoked_at: show_time(key.revoked_at.as_ref()),
            id: key.id,
            scopes: key.scopes,
            note: key.note,
        }
    }
}

impl Row for ShownKey {
    const HEADINGS: &'static [&'static str] = &["ID", "SCOPES", "CREATED", "REVOKED", "NOTE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.scopes.join(","),
            self.created_at.clone(),
            self.revoked_at.clone(),
            self.note.clone(),
        ]
    }
}

/// A key just created, with what is shown once.
#[derive(Debug, Serialize)]
struct CreatedKey {
    #[serde(flatten)]
    key: ShownKey,
    secret: String,
}

pub(crate) async fn run(command: Keys, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.keys()?;
    match command {
        Keys::Create { scopes, note } => {
            let request = projects::CreateKeyRequest { scopes, note };
            let answer = client.create_key(request).await?.into_inner();
            let key = answer.key.unwrap_or_default().into();
            let created = CreatedKey {
                key,
                secret: answer.secret,
            };
            let fields = [
                ("id", created.key.id.clone()),
                ("scopes", created.key.scopes.join(",")),
                ("note", created.key.note.clone()),
                ("key", created.secret.clone()),
            ];
            output::one(connection.output, &created, &fields)?;
            if connection.output == Output::Table {
                output::line("Keep the key now: it is shown once.")?;
            }
            Ok(())
        }
        Keys::List => {
            let answer = client
                .list_keys(projects::ListKeysRequest {})
                .await?
                .into_inner();
            let shown: Vec<ShownKey> = answer.keys.into_iter().map(Into::into).collect();
            output::rows(connection.output, &shown)
        }
        Keys::Revoke { id } => {
            let answer = client
                .revoke_key(projects::RevokeKeyRequest { id })
                .await?
                .into_inner();
            let key = ShownKey::from(answer.key.unwrap_or_default());
            let fields = [("id", key.id.clone()), ("revoked", key.revoked_at.clone())];
            output::one(connection.output, &key, &fields)
        }
    }
}
