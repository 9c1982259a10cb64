//! `tripline projects`: what everything belongs to.

use protocol::projects::v1 as projects;
use serde::Serialize;

use super::show_time;
use crate::command_line::{Connection, Output, Projects, Rotation};
use crate::failure::Failure;
use crate::output::{self, Row};

/// A project as printed.
#[derive(Debug, Serialize)]
struct ShownProject {
    name: String,
    created_at: String,
    paused: bool,
}

impl From<projects::Project> for ShownProject {
    fn from(project: projects::Project) -> Self {
        Self {
            created_at: show_time(project.created_at.as_ref()),
            paused: project.paused,
            name: project.name,
        }
    }
}

impl Row for ShownProject {
    const HEADINGS: &'static [&'static str] = &["NAME", "CREATED", "STATE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.created_at.clone(),
            self.state().to_owned(),
        ]
    }
}

impl ShownProject {
    const fn state(&self) -> &'static str {
        if self.paused { "paused" } else { "" }
    }

    fn print(&self, connection: &Connection) -> Result<(), Failure> {
        let fields = [
            ("project", self.name.clone()),
            ("state", self.state().to_owned()),
        ];
        output::one(connection.output, self, &fields)
    }
}

/// A project just created, with its first key, which is shown once.
#[derive(Debug, Serialize)]
struct CreatedProject {
    #[serde(flatten)]
    project: ShownProject,
    key: String,
    secret: String,
}

/// A project's new secret, which is shown once.
#[derive(Debug, Serialize)]
struct RotatedProject {
    project: String,
    kid: String,
    secret: String,
    signs_from: String,
}

/// That a project's new secret is in use.
#[derive(Debug, Serialize)]
struct PromotedProject<'a> {
    promoted: &'a str,
}

async fn rotate_secret(
    name: String,
    rotation: Rotation,
    connection: &Connection,
) -> Result<(), Failure> {
    let mut client = connection.projects()?;
    if rotation.promote {
        let request = projects::PromoteProjectSecretRequest { name: name.clone() };
        client.promote_project_secret(request).await?;
        let promoted = PromotedProject { promoted: &name };
        return output::one(connection.output, &promoted, &[("promoted", name.clone())]);
    }
    let request = projects::RotateProjectSecretRequest {
        name: name.clone(),
        overlap: Some(protocol::to_duration(rotation.overlap)),
    };
    let answer = client.rotate_project_secret(request).await?.into_inner();
    let rotated = RotatedProject {
        project: name,
        kid: answer.kid,
        secret: answer.secret,
        signs_from: show_time(answer.signs_from.as_ref()),
    };
    let fields = [
        ("project", rotated.project.clone()),
        ("kid", rotated.kid.clone()),
        ("secret", rotated.secret.clone()),
        ("signs from", rotated.signs_from.clone()),
    ];
    output::one(connection.output, &rotated, &fields)?;
    if connection.output == Output::Table {
        output::line("Keep the secret now: it is shown once.")?;
    }
    Ok(())
}

/// A new key of the system's; only its public half is ever shown, at /.well-known/jwks.json.
#[derive(Debug, Serialize)]
struct RotatedKey {
    kid: String,
    signs_from: String,
}

/// That the system's new key is in use.
#[derive(Debug, Serialize)]
struct PromotedKey {
    promoted: &'static str,
}

async fn rotate_system_key(rotation: Rotation, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.projects()?;
    if rotation.promote {
        let request = projects::PromoteSystemKeyRequest {};
        client.promote_system_key(request).await?;
        let promoted = PromotedKey { promoted: "system" };
        let fields = [("promoted", promoted.promoted.to_owned())];
        return output::one(connection.output, &promoted, &fields);
    }
    let request = projects::RotateSystemKeyRequest {
        overlap: Some(protocol::to_duration(rotation.overlap)),
    };
    let answer = client.rotate_system_key(request).await?.into_inner();
    let rotated = RotatedKey {
        kid: answer.kid,
        signs_from: show_time(answer.signs_from.as_ref()),
    };
    let fields = [
        ("kid", rotated.kid.clone()),
        ("signs from", rotated.signs_from.clone()),
    ];
    output::one(connection.output, &rotated, &fields)
}

pub(crate) async fn run(command: Projects, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.projects()?;
    match command {
        Projects::Create { name } => {
            let request = projects::CreateProjectRequest { name };
            let answer = client.create_project(request).await?.into_inner();
            let project = answer.project.unwrap_or_default().into();
            let created = CreatedProject {
                project,
                key: answer.key,
                secret: answer.secret,
            };
            let fields = [
                ("project", created.project.name.clone()),
                ("key", created.key.clone()),
                ("secret", created.secret.clone()),
            ];
            output::one(connection.output, &created, &fields)?;
            if connection.output == Output::Table {
                output::line(
                    "Keep both now: they are shown once. The secret checks the X-SC-Token of \
                     functions that ask for one.",
                )?;
            }
            Ok(())
        }
        Projects::Pause { name } => {
            let name = name.unwrap_or_default();
            let request = projects::PauseProjectRequest { name };
            let project = client.pause_project(request).await?.into_inner();
            ShownProject::from(project).print(connection)
        }
        Projects::Resume { name } => {
            let name = name.unwrap_or_default();
            let request = projects::ResumeProjectRequest { name };
            let project = client.resume_project(request).await?.into_inner();
            ShownProject::from(project).print(connection)
        }
        Projects::List => {
            let answer = client
                .list_projects(projects::ListProjectsRequest {})
                .await?
                .into_inner();
            let shown: Vec<ShownProject> = answer.projects.into_iter().map(Into::into).collect();
            output::rows(connection.output, &shown)
        }
        Projects::RotateSecret { name, rotation } => {
            rotate_secret(name, rotation, connection).await
        }
        Projects::RotateSystemKey { rotation } => rotate_system_key(rotation, connection).await,
    }
}
