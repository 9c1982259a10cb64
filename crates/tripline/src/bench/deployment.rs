//! What `--spawn` starts: everything in one process, or the four services on their servers.

mod child;
mod embedded;
mod full;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use url::Url;

use self::child::Child;
use super::options::Servers;
use super::processes::NamedProcess;
use crate::command_line::{Connection, Output};
use crate::failure::Failure;

/// What stands below the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backing {
    Embedded,
    Full,
}

impl Backing {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Full => "full",
        }
    }
}

/// Processes of our own that serve; killed when dropped.
#[derive(Debug)]
pub(crate) struct Deployment {
    // Dropped in this order: the processes before their folder.
    children: Vec<Child>,
    connection: Connection,
    servers: Vec<NamedProcess>,
    _folder: TempDir,
}

impl Deployment {
    /// Starts what is asked for, with these settings, and waits until it is ready.
    pub(crate) async fn start(
        backing: Backing,
        servers: &Servers,
        variables: &[(String, String)],
        output: Output,
    ) -> Result<Self, Failure> {
        match backing {
            // It has no settings of its own.
            Backing::Embedded => embedded::start(output).await,
            Backing::Full => full::start(servers, variables, output).await,
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ours and the servers'.
    pub(crate) fn processes(&self) -> Vec<NamedProcess> {
        let own = self.children.iter().filter_map(Child::process);
        own.chain(self.servers.iter().cloned()).collect()
    }

    /// Adds what the processes said last to a failure.
    pub(crate) fn explain(&self, mut failure: Failure) -> Failure {
        for child in &self.children {
            let words = child.last_words();
            if !words.is_empty() {
                failure
                    .message
                    .push_str(&format!("\n{} said last:\n{words}", child.name()));
            }
        }
        failure
    }

    /// Stops all processes in good order; what does not stop is killed.
    pub(crate) async fn stop(&mut self) {
        self.children.iter().for_each(Child::ask_to_stop);
        for child in &mut self.children {
            child.wait_or_kill().await;
        }
    }
}

/// A folder for data that is thrown away; not in /tmp, which may be memory, where a disk's part of
/// the work would cost nothing.
fn folder() -> Result<TempDir, Failure> {
    let lasting = Path::new("/var/tmp");
    let parent = if lasting.is_dir() {
        lasting.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = tempfile::Builder::new()
        .prefix("tripline-bench-")
        .tempdir_in(&parent);
    folder.map_err(|error| {
        Failure::local(format!(
            "cannot make a folder in {}: {error}",
            parent.display()
        ))
    })
}

fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::local(format!("this program's own file is not known: {error}")))
}

/// An address that nobody listens on at the moment.
fn free_address() -> Result<SocketAddr, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure::local(format!("no port is free: {error}")))
}

fn url(address: SocketAddr) -> Result<Url, Failure> {
    Url::parse(&format!("http://{address}"))
        .map_err(|error| Failure::local(format!("{address} makes no URL: {error}")))
}

fn connection_to(server: Url, output: Output) -> Connection {
    Connection {
        server: Some(server),
        emitter: None,
        functions_server: None,
        worker: None,
        logs_server: None,
        api_key: None,
        project: None,
        profile: None,
        output,
    }
}
