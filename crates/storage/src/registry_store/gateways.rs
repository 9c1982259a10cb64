//! Services behind the API gateway: a part of what is configured.

use async_trait::async_trait;
use domain::api_event::{Description, DescriptionKind};
use domain::function::parse_url;
use domain::gateway::{AccessRule, GatewayService, ServiceName};
use domain::name::ProjectName;
use std::sync::Arc;

use crate::Error;
use crate::columns::{from_micros, parse, unsigned};

/// Services behind the gateway. A change raises the registry's revision.
#[async_trait]
pub trait GatewayStore: Send + Sync {
    /// # Errors
    /// `AlreadyExists` when the project has one of that name, `NotFound` when there is no such project.
    async fn create_gateway(&self, service: &GatewayService) -> Result<u64, Error>;

    /// Those of a project, by name.
    async fn gateways(&self, project: &ProjectName) -> Result<Vec<GatewayService>, Error>;

    /// # Errors
    /// `NotFound` when the project has none of that name.
    async fn delete_gateway(&self, project: &ProjectName, name: &ServiceName)
    -> Result<u64, Error>;
}

pub(crate) type GatewayRow = (
    String,
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    i64,
);

pub(crate) fn operations_text(service: &GatewayService) -> Result<String, Error> {
    serde_json::to_string(service.description.operations())
        .map_err(|error| Error::corrupt("service", error))
}

pub(crate) fn gateway(row: GatewayRow) -> Result<GatewayService, Error> {
    let (project, name, base_url, access, kind, operations, created_at, updated_at, revision) = row;
    let corrupt = |what: &str| Error::corrupt("service", format_args!("{what} of {name:?}"));
    let operations: Vec<String> =
        serde_json::from_str(&operations).map_err(|error| Error::corrupt("service", error))?;
    let kind = DescriptionKind::parse(&kind).ok_or_else(|| corrupt("description"))?;
    let description = Description::new(&name, kind, operations)
        .map_err(|error| Error::corrupt("service", error))?;
    Ok(GatewayService {
        project: parse("service", &project)?,
        base_url: parse_url(&base_url).map_err(|error| Error::corrupt("service", error))?,
        access: AccessRule::parse(&access).ok_or_else(|| corrupt("access"))?,
        description: Arc::new(description),
        created_at: from_micros(created_at)?,
        updated_at: from_micros(updated_at)?,
        revision: unsigned(revision),
        name: parse("service", &name)?,
    })
}

/// Implements [`GatewayStore`] where [`crate::registry_store::implement`] implements the rest.
macro_rules! implement_gateway_store {
    ($store:ty, $connection:ty) => {
        #[async_trait::async_trait]
        impl crate::GatewayStore for $store {
            async fn create_gateway(
                &self,
                service: &domain::gateway::GatewayService,
            ) -> Result<u64, Error> {
                let operations = gateways::operations_text(service)?;
                let (mut change, revision) = self.begin_change().await?;
                require_project(&mut change, &service.project).await?;
                let done = sqlx::query(
                    "INSERT INTO gateway_services (project, name, base_url, access, description, \
                     operations, created_at_us, updated_at_us, revision) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
                )
                .bind(service.project.as_str())
                .bind(service.name.as_str())
                .bind(service.base_url.as_str())
                .bind(service.access.as_str())
                .bind(service.description.kind().as_str())
                .bind(operations)
                .bind(micros(service.created_at))
                .bind(micros(service.updated_at))
                .bind(revision)
                .execute(&mut *change)
                .await?;
                require_new(done.rows_affected(), "service", &service.name)?;
                self.commit_change(change, revision).await
            }

            async fn gateways(
                &self,
                project: &ProjectName,
            ) -> Result<Vec<domain::gateway::GatewayService>, Error> {
                let mut read = self.begin_read().await?;
                let rows: Vec<gateways::GatewayRow> = sqlx::query_as(
                    "SELECT project, name, base_url, access, description, operations, \
                     created_at_us, updated_at_us, revision FROM gateway_services \
                     WHERE project = $1 ORDER BY name",
                )
                .bind(project.as_str())
                .fetch_all(&mut *read)
                .await?;
                rows.into_iter().map(gateways::gateway).collect()
            }

            async fn delete_gateway(
                &self,
                project: &ProjectName,
                name: &domain::gateway::ServiceName,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                let done =
                    sqlx::query("DELETE FROM gateway_services WHERE project = $1 AND name = $2")
                        .bind(project.as_str())
                        .bind(name.as_str())
                        .execute(&mut *change)
                        .await?;
                require(done.rows_affected(), "service", name)?;
                note_deletion(&mut change, "gateway", project, name.as_str(), revision).await?;
                self.commit_change(change, revision).await
            }
        }

        async fn gateways_after(
            connection: &mut $connection,
            revision: i64,
        ) -> Result<Vec<domain::gateway::GatewayService>, Error> {
            let rows: Vec<gateways::GatewayRow> = sqlx::query_as(
                "SELECT project, name, base_url, access, description, operations, created_at_us, \
                 updated_at_us, revision FROM gateway_services WHERE revision > $1 \
                 ORDER BY project, name",
            )
            .bind(revision)
            .fetch_all(connection)
            .await?;
            rows.into_iter().map(gateways::gateway).collect()
        }
    };
}

pub(crate) use implement_gateway_store;
