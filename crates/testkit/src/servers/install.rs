//! Installing what tests need from Debian's packages: the three servers, without leaving them
//! running, and what the foreign clients run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::{postgres_program, process, runs_as_root};

/// A slow mirror, on a slow line.
const APT_TIMEOUT: Duration = Duration::from_secs(900);
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Debian asks this script before a package starts its service; 101 means no.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";
const NO_SERVICES: &str = "#!/bin/sh\n# Written by test-servers for one installation.\nexit 101\n";

struct Package {
    name: &'static str,
    service: Option<&'static str>,
    is_there: fn() -> bool,
}

const PACKAGES: [Package; 4] = [
    Package {
        name: "rabbitmq-server",
        service: Some("rabbitmq-server"),
        is_there: || Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists(),
    },
    Package {
        name: "postgresql",
        service: Some("postgresql"),
        is_there: || postgres_program("initdb").is_ok(),
    },
    Package {
        name: "redis-server",
        service: Some("redis-server"),
        is_there: || Path::new("/usr/bin/redis-server").exists(),
    },
    Package {
        name: "python3-venv",
        service: None,
        is_there: can_make_python_environments,
    },
];

/// Debian's Python comes without what makes an environment complete.
fn can_make_python_environments() -> bool {
    let check = ["-c", "import ensurepip, venv"];
    let output = std::process::Command::new("python3").args(check).output();
    output.is_ok_and(|output| output.status.success())
}

/// Installs what is missing; returns the packages it installed.
///
/// Their services are neither started now nor at the next boot: the tests run servers of their
/// own, and what was there before stays as it was.
pub async fn install() -> anyhow::Result<Vec<&'static str>> {
    let missing: Vec<_> = PACKAGES
        .iter()
        .filter(|package| !(package.is_there)())
        .collect();
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(names);
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("no apt-get here: install {} by hand", names.join(", "));
    }
    let policy = ServicePolicy::forbid_services().await?;
    let installed = apt_install(&names).await;
    policy.restore().await?;
    installed?;
    if Path::new("/run/systemd/system").exists() {
        for service in missing.iter().filter_map(|package| package.service) {
            as_root(&["systemctl", "disable", service], STEP_TIMEOUT).await?;
        }
    }
    Ok(names)
}

async fn apt_install(names: &[&str]) -> anyhow::Result<()> {
    let mut words = vec![
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "-o",
        "DPkg::Lock::Timeout=300",
    ];
    words.extend(names);
    if as_root(&words, APT_TIMEOUT).await.is_ok() {
        return Ok(());
    }
    // A fresh machine has no package lists yet, an old one has stale ones.
    as_root(&["apt-get", "update", "-q"], APT_TIMEOUT)
        .await
        .context("update package lists")?;
    as_root(&words, APT_TIMEOUT)
        .await
        .context("install the servers")
}

/// Says no to every service for as long as the installation lasts.
struct ServicePolicy {
    folder: TempDir,
    saved: Option<PathBuf>,
}

impl ServicePolicy {
    async fn forbid_services() -> anyhow::Result<Self> {
        let folder = process::folder("install", super::Options::default())?;
        let mut saved = None;
        // One of ours, left by an installation that was killed, is not worth keeping.
        if fs::read_to_string(SERVICE_POLICY).is_ok_and(|text| text != NO_SERVICES) {
            let copy = folder.path().join("saved-policy");
            fs::copy(SERVICE_POLICY, &copy).context("save the service policy")?;
            saved = Some(copy);
        }
        let ours = folder.path().join("policy");
        fs::write(&ours, NO_SERVICES).context("write a service policy")?;
        put_policy(&ours).await?;
        Ok(Self { folder, saved })
    }

    async fn restore(self) -> anyhow::Result<()> {
        match &self.saved {
            Some(saved) => put_policy(saved).await?,
            None => as_root(&["rm", "-f", SERVICE_POLICY], STEP_TIMEOUT).await?,
        }
        self.folder.close().context("remove the saved policy")
    }
}

async fn put_policy(file: &Path) -> anyhow::Result<()> {
    let file = file.display().to_string();
    as_root(
        &["install", "-m", "755", &file, SERVICE_POLICY],
        STEP_TIMEOUT,
    )
    .await
}

async fn as_root(words: &[&str], deadline: Duration) -> anyhow::Result<()> {
    let mut words = words.to_vec();
    if !runs_as_root() {
        words.insert(0, "sudo");
    }
    let (program, arguments) = words.split_first().context("a command has words")?;
    process::run(program, arguments, Path::new("/"), deadline)
        .await
        .map(drop)
}
