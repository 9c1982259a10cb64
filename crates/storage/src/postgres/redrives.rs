//! Orders to deliver again, on `PostgreSQL`.

use std::time::Duration;

use async_trait::async_trait;
use domain::id::{DeliveryId, RedriveId, first_id_at};
use domain::name::ProjectName;
use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Row as _, Transaction};
use uuid::Uuid;

use super::log_store::{push_event_conditions, read_event};
use crate::columns::{count, from_micros, micros, parse, signed, unsigned, without_zero};
use crate::log_store::read::{read_status, read_time, time_bounds};
use crate::log_store::{DeliveryFilter, EventReference};
use crate::redrives::implement::implement_redrives;
use crate::redrives::{
    Candidate, EndedDelivery, Hold, Plan, Planned, Progress, Redrive, RedriveKind, RedriveOrder,
    RedriveState, Redriven, conditions, lease_end,
};
use crate::{Error, Redrives};

#[derive(Debug)]
pub(super) struct Orders {
    pool: PgPool,
}

impl Orders {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    const fn readers(&self) -> &PgPool {
        &self.pool
    }

    async fn begin(&self) -> Result<Transaction<'static, sqlx::Postgres>, Error> {
        Ok(self.pool.begin().await?)
    }
}

implement_redrives!(sqlx::Postgres, PgRow);
