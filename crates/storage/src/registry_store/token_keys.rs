//! The keys that sign the tokens of requests: a part of what is configured, each owner's in one row.

use async_trait::async_trait;
use domain::token::TokenKeys;
use protocol::token_keys::{token_keys_from_bytes, token_keys_to_bytes};

use crate::columns::unsigned;
use crate::{Cipher, Error};

/// Keys of projects and of the system. A change raises the registry's revision.
#[async_trait]
pub trait TokenKeyStore: Send + Sync {
    /// Those of everybody.
    async fn token_keys(&self) -> Result<Vec<TokenKeys>, Error>;

    /// Stores an owner's first keys; `None` when the owner has some already, which stay.
    async fn create_token_keys(&self, keys: &TokenKeys) -> Result<Option<u64>, Error>;

    /// # Errors
    /// `NotFound` when the owner has none.
    async fn update_token_keys(&self, keys: &TokenKeys) -> Result<u64, Error>;
}

pub(crate) type TokenKeysRow = (String, Vec<u8>, i64);

pub(crate) fn owner(keys: &TokenKeys) -> &str {
    keys.project.as_ref().map_or("", |project| project.as_str())
}

pub(crate) fn seal(cipher: &Cipher, keys: &TokenKeys) -> Result<Vec<u8>, Error> {
    cipher.seal(&token_keys_to_bytes(keys), &place(owner(keys)))
}

pub(crate) fn open(row: &TokenKeysRow, cipher: &Cipher) -> Result<TokenKeys, Error> {
    let (owner, sealed, revision) = row;
    let opened = cipher.open(sealed, &place(owner))?;
    let mut keys =
        token_keys_from_bytes(&opened).map_err(|error| Error::corrupt("token keys", error))?;
    keys.revision = unsigned(*revision);
    Ok(keys)
}

fn place(owner: &str) -> String {
    format!("{owner}#token_keys")
}

/// Implements [`TokenKeyStore`] where [`crate::registry_store::implement`] implements the rest.
macro_rules! implement_token_key_store {
    ($store:ty, $connection:ty) => {
        #[async_trait::async_trait]
        impl crate::TokenKeyStore for $store {
            async fn token_keys(&self) -> Result<Vec<domain::token::TokenKeys>, Error> {
                let mut read = self.begin_read().await?;
                token_keys_after(&mut read, &self.cipher, 0).await
            }

            async fn create_token_keys(
                &self,
                keys: &domain::token::TokenKeys,
            ) -> Result<Option<u64>, Error> {
                let sealed = token_keys::seal(&self.cipher, keys)?;
                let (mut change, revision) = self.begin_change().await?;
                let done = sqlx::query(
                    "INSERT INTO token_keys (owner, sealed, revision) VALUES ($1, $2, $3) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(token_keys::owner(keys))
                .bind(sealed)
                .bind(revision)
                .execute(&mut *change)
                .await?;
                if done.rows_affected() == 0 {
                    // Nothing changed: the revision goes back with the transaction.
                    change.rollback().await?;
                    return Ok(None);
                }
                self.commit_change(change, revision).await.map(Some)
            }

            async fn update_token_keys(
                &self,
                keys: &domain::token::TokenKeys,
            ) -> Result<u64, Error> {
                let sealed = token_keys::seal(&self.cipher, keys)?;
                let (mut change, revision) = self.begin_change().await?;
                let done = sqlx::query(
                    "UPDATE token_keys SET sealed = $2, revision = $3 WHERE owner = $1",
                )
                .bind(token_keys::owner(keys))
                .bind(sealed)
                .bind(revision)
                .execute(&mut *change)
                .await?;
                require(
                    done.rows_affected(),
                    "token keys of",
                    token_keys::owner(keys),
                )?;
                self.commit_change(change, revision).await
            }
        }

        async fn token_keys_after(
            connection: &mut $connection,
            cipher: &Cipher,
            revision: i64,
        ) -> Result<Vec<domain::token::TokenKeys>, Error> {
            let rows: Vec<token_keys::TokenKeysRow> = sqlx::query_as(
                "SELECT owner, sealed, revision FROM token_keys WHERE revision > $1 ORDER BY owner",
            )
            .bind(revision)
            .fetch_all(connection)
            .await?;
            rows.iter()
                .map(|row| token_keys::open(row, cipher))
                .collect()
        }
    };
}

pub(crate) use implement_token_key_store;
