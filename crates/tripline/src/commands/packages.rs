//! `tripline packages`: what is changed together, version by version.

mod document;

use protocol::functions::v1::CreateFunctionResponse;
use protocol::packages::v1 as wire;
use serde::Serialize;

use self::document::Document;
use super::imports::read_file;
use super::show_time;
use crate::command_line::{Connection, Output, Packages};
use crate::failure::Failure;
use crate::output::{self, Row};

/// A package as printed.
#[derive(Debug, Serialize)]
struct ShownPackage {
    name: String,
    active_version: u32,
    latest_version: u32,
    created_at: String,
    updated_at: String,
}

impl From<wire::Package> for ShownPackage {
    fn from(package: wire::Package) -> Self {
        Self {
            created_at: show_time(package.created_at.as_ref()),
            updated_at: show_time(package.updated_at.as_ref()),
            name: package.name,
            active_version: package.active_version,
            latest_version: package.latest_version,
        }
    }
}

impl Row for ShownPackage {
    const HEADINGS: &'static [&'static str] = &["NAME", "IN FORCE", "LATEST", "CHANGED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            in_force(self.active_version),
            self.latest_version.to_string(),
            self.updated_at.clone(),
        ]
    }
}

impl ShownPackage {
    fn print(&self, connection: &Connection) -> Result<(), Failure> {
        let fields = [
            ("package", self.name.clone()),
            ("in force", in_force(self.active_version)),
            ("latest", self.latest_version.to_string()),
            ("created", self.created_at.clone()),
            ("changed", self.updated_at.clone()),
        ];
        output::one(connection.output, self, &fields)
    }
}

fn in_force(version: u32) -> String {
    match version {
        0 => "none".to_owned(),
        version => version.to_string(),
    }
}

/// A version as printed, without what is in it.
#[derive(Debug, Serialize)]
struct ShownVersion {
    package: String,
    version: u32,
    active: bool,
    origin: String,
    created_at: String,
    activated_at: String,
}

impl From<wire::Version> for ShownVersion {
    fn from(version: wire::Version) -> Self {
        Self {
            created_at: show_time(version.created_at.as_ref()),
            activated_at: show_time(version.activated_at.as_ref()),
            package: version.package,
            version: version.version,
            active: version.active,
            origin: version.origin,
        }
    }
}

impl Row for ShownVersion {
    const HEADINGS: &'static [&'static str] = &[
        "VERSION",
        "IN FORCE",
        "FROM",
        "DEPLOYED",
        "LAST PUT IN FORCE",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.version.to_string(),
            if self.active { "yes" } else { "no" }.to_owned(),
            self.origin.clone(),
            self.created_at.clone(),
            self.activated_at.clone(),
        ]
    }
}

/// A function just made, with what is shown once.
#[derive(Debug, Serialize)]
pub(super) struct ShownCreated {
    function: String,
    secret: String,
    signing_secret: String,
}

pub(super) fn shown_created(created: CreateFunctionResponse) -> ShownCreated {
    ShownCreated {
        function: created.function.unwrap_or_default().name,
        secret: created.secret,
        signing_secret: created.signing_secret,
    }
}

/// For people: in JSON they are part of the answer.
pub(super) fn print_created(created: &[ShownCreated], output: Output) -> Result<(), Failure> {
    if created.is_empty() || output == Output::Json {
        return Ok(());
    }
    for function in created {
        let fields = [
            ("function", function.function.clone()),
            ("secret", function.secret.clone()),
            ("signing secret", function.signing_secret.clone()),
        ];
        output::one(output, function, &fields)?;
    }
    output::line("Keep the secrets now: they are shown once.")
}

/// What a deployment came to.
#[derive(Debug, Serialize)]
struct ShownDeployed {
    #[serde(flatten)]
    version: ShownVersion,
    created: Vec<ShownCreated>,
}

/// What putting a version in force came to.
#[derive(Debug, Serialize)]
struct ShownActivated {
    #[serde(flatten)]
    package: ShownPackage,
    created: Vec<ShownCreated>,
}

pub(crate) async fn run(command: Packages, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.packages()?;
    match command {
        Packages::List => list(connection).await,
        Packages::Get { name } => {
            let package = client.get_package(wire::GetPackageRequest { name }).await?;
            ShownPackage::from(package.into_inner()).print(connection)
        }
        Packages::Versions { name } => versions(name, connection).await,
        Packages::Show { name, version } => {
            let request = wire::GetVersionRequest {
                package: name,
                version: version.unwrap_or_default(),
            };
            let version = client.get_version(request).await?.into_inner();
            let document = Document::from(version.document.unwrap_or_default());
            match connection.output {
                Output::Json => output::object(&document),
                Output::Table => output::line(&document.pretty()?),
            }
        }
        Packages::Deploy {
            name,
            file,
            no_activate,
        } => {
            let document = Document::read(&file.display().to_string(), &read_file(&file)?)?;
            let request = wire::DeployVersionRequest {
                package: name,
                document: Some(document.into()),
                source: bytes::Bytes::new(),
                activate: Some(!no_activate),
            };
            let answer = client.deploy_version(request).await?.into_inner();
            let shown = ShownDeployed {
                version: answer.version.unwrap_or_default().into(),
                created: answer.created.into_iter().map(shown_created).collect(),
            };
            let version = &shown.version;
            let fields = [
                ("package", version.package.clone()),
                ("version", version.version.to_string()),
                (
                    "in force",
                    if version.active { "yes" } else { "no" }.to_owned(),
                ),
            ];
            output::one(connection.output, &shown, &fields)?;
            print_created(&shown.created, connection.output)
        }
        Packages::Activate { name, version } => {
            let request = wire::ActivateVersionRequest {
                package: name,
                version,
            };
            let answer = client.activate_version(request).await?.into_inner();
            let shown = ShownActivated {
                package: answer.package.unwrap_or_default().into(),
                created: answer.created.into_iter().map(shown_created).collect(),
            };
            let fields = [
                ("package", shown.package.name.clone()),
                ("in force", in_force(shown.package.active_version)),
            ];
            output::one(connection.output, &shown, &fields)?;
            print_created(&shown.created, connection.output)
        }
    }
}

async fn list(connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.packages()?;
    let mut shown = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListPackagesRequest {
            page_size: 1000,
            page_token,
        };
        let page = client.list_packages(request).await?.into_inner();
        shown.extend(page.packages.into_iter().map(ShownPackage::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output::rows(connection.output, &shown);
        }
    }
}

async fn versions(package: String, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.packages()?;
    let mut shown = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListVersionsRequest {
            package: package.clone(),
            page_size: 1000,
            page_token,
        };
        let page = client.list_versions(request).await?.into_inner();
        shown.extend(page.versions.into_iter().map(ShownVersion::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output::rows(connection.output, &shown);
        }
    }
}
