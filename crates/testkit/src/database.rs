//! An empty PostgreSQL database of a test's own, on the shared test server.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{environment, servers};

/// A database with a random name; dropped with the value, also while connections are open.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    server_url: String,
}

/// Creates an empty database on the shared test server.
///
/// # Panics
///
/// When the test servers are not there.
pub async fn postgres() -> TestDatabase {
    create_database(&environment::required(environment::POSTGRES_URL)).await
}

/// Creates an empty database on the server at `server_url`, which ends in `/postgres`.
pub(crate) async fn create_database(server_url: &str) -> TestDatabase {
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let database = TestDatabase {
        name,
        server_url: server_url.to_owned(),
    };
    // Not template1: two tests that copy it at once would refuse each other.
    let statement = format!("CREATE DATABASE {} TEMPLATE template0", database.name);
    let output = tokio::process::Command::from(psql(server_url, &statement))
        .output()
        .await
        .expect("psql should be there: run `make test`, which installs it");
    assert!(
        output.status.success(),
        "create a test database at {server_url}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    database
}

impl TestDatabase {
    pub fn url(&self) -> String {
        let (server, _) = self
            .server_url
            .rsplit_once('/')
            .unwrap_or((&self.server_url, ""));
        format!("{server}/{}", self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // Best effort: the whole server is thrown away at the end of the run.
        drop(psql(&self.server_url, &statement).output());
    }
}

fn psql(url: &str, statement: &str) -> Command {
    let program = servers::postgres_program("psql").unwrap_or_else(|_| PathBuf::from("psql"));
    let mut command = Command::new(program);
    command.args([
        url,
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--command",
        statement,
    ]);
    command.env("PGCONNECT_TIMEOUT", "10").stdin(Stdio::null());
    command
}
