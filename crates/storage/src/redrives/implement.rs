//! The orders' questions, written once for both databases; see `registry_store/implement.rs` for
//! why this is a macro.

/// Makes [`Redrives`](crate::Redrives) for `Orders`, which gives readers and begins transactions.
macro_rules! implement_redrives {
    ($database:ty, $row:ty) => {
        type Question = sqlx::QueryBuilder<$database>;

        const REDRIVES: &str = "SELECT redrive_id, project, kind, conditions, to_function, \
             per_second, state, total, sent, skipped, batch, done_to, next_due_at_us, reason, \
             created_at_us, updated_at_us, ended_at_us FROM redrives";

        /// With what log-service needs to make a whole event of it.
        const EVENT_COLUMNS: &str = "e.eid, e.client_id, e.source, e.event_type, e.subject, \
             e.time_us, e.accepted_at_us, e.data_content_type, e.data, e.attributes";

        #[async_trait]
        impl Redrives for Orders {
            async fn count(
                &self,
                project: &ProjectName,
                order: &RedriveOrder,
                limit: u64,
            ) -> Result<u64, Error> {
                let mut question = Question::new("SELECT count(*) FROM (SELECT 1 AS one");
                push_candidates(&mut question, project, order, None);
                question.push(" LIMIT ").push_bind(signed(limit)).push(") AS found");
                let count: i64 = question.build_query_scalar().fetch_one(self.readers()).await?;
                Ok(unsigned(count))
            }

            async fn candidates(
                &self,
                project: &ProjectName,
                order: &RedriveOrder,
                after: Option<Uuid>,
                limit: u32,
            ) -> Result<Vec<Candidate>, Error> {
                let mut question = Question::new("SELECT ");
                question.push(EVENT_COLUMNS);
                if order.kind == RedriveKind::Redrive {
                    question.push(
                        ", d.delivery_id, d.trigger_name, d.function_name, d.generation, d.status",
                    );
                }
                push_candidates(&mut question, project, order, after);
                let column = id_column(order.kind);
                question.push(format_args!(" ORDER BY {column} LIMIT ")).push_bind(i64::from(limit));
                let rows = question.build().fetch_all(self.readers()).await?;
                let candidate = |row: &$row| {
                    let delivery = match order.kind {
                        RedriveKind::Redrive => Some(read_ended(row)?),
                        RedriveKind::Replay => None,
                    };
                    Ok(Candidate { event: read_event(row, project)?, delivery })
                };
                rows.iter().map(candidate).collect()
            }

            async fn start(&self, redrive: &Redrive, running_max: u32) -> Result<bool, Error> {
                let order = &redrive.order;
                let mut transaction = self.begin().await?;
                let done = sqlx::query(
                    "INSERT INTO redrives (redrive_id, project, kind, conditions, to_function, \
                     per_second, state, total, sent, skipped, batch, done_to, next_due_at_us, \
                     reason, created_at_us, updated_at_us, ended_at_us, holder, leased_to_us) \
                     SELECT $1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, NULL, $9, NULL, $10, $10, \
                     NULL, '', 0 WHERE (SELECT count(*) FROM redrives \
                     WHERE project = $2 AND state = 'running') < $11",
                )
                .bind(redrive.id.uuid())
                .bind(redrive.project.as_str())
                .bind(order.kind.as_str())
                .bind(conditions::to_text(&order.filter)?)
                .bind(order.to_function.as_ref().map(ToString::to_string))
                .bind(order.per_second)
                .bind(redrive.state.as_str())
                .bind(signed(redrive.total))
                .bind(micros(redrive.progress.next_due_at))
                .bind(micros(redrive.created_at))
                .bind(i64::from(running_max))
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await?;
                Ok(done.rows_affected() == 1)
            }

            async fn get(
                &self,
                project: &ProjectName,
                id: RedriveId,
            ) -> Result<Option<Redrive>, Error> {
                let question = format!("{REDRIVES} WHERE project = $1 AND redrive_id = $2");
                let row = sqlx::query(AssertSqlSafe(question))
                    .bind(project.as_str())
                    .bind(id.uuid())
                    .fetch_optional(self.readers())
                    .await?;
                row.as_ref().map(read_redrive).transpose()
            }

            async fn list(&self, project: &ProjectName, limit: u32) -> Result<Vec<Redrive>, Error> {
                let question =
                    format!("{REDRIVES} WHERE project = $1 ORDER BY redrive_id DESC LIMIT $2");
                let rows = sqlx::query(AssertSqlSafe(question))
                    .bind(project.as_str())
                    .bind(i64::from(limit))
                    .fetch_all(self.readers())
                    .await?;
                rows.iter().map(read_redrive).collect()
            }

            async fn stop(
                &self,
                project: &ProjectName,
                id: RedriveId,
                now: Timestamp,
            ) -> Result<Option<Redrive>, Error> {
                let mut transaction = self.begin().await?;
                sqlx::query(
                    "UPDATE redrives SET state = 'stopped', updated_at_us = $3, ended_at_us = $3 \
                     WHERE project = $1 AND redrive_id = $2 AND state = 'running'",
                )
                .bind(project.as_str())
                .bind(id.uuid())
                .bind(micros(now))
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await?;
                self.get(project, id).await
            }

            async fn claim(
                &self,
                holder: &str,
                now: Timestamp,
                lease: Duration,
            ) -> Result<Option<Redrive>, Error> {
                // Looked for without a transaction first: mostly there is nothing.
                let free: Option<Uuid> = sqlx::query_scalar(
                    "SELECT redrive_id FROM redrives WHERE state = 'running' \
                     AND leased_to_us < $1 ORDER BY redrive_id LIMIT 1",
                )
                .bind(micros(now))
                .fetch_optional(self.readers())
                .await?;
                let Some(free) = free else { return Ok(None) };
                let mut transaction = self.begin().await?;
                let taken = sqlx::query(
                    "UPDATE redrives SET holder = $2, leased_to_us = $3 WHERE redrive_id = $1 \
                     AND state = 'running' AND leased_to_us < $4",
                )
                .bind(free)
                .bind(holder)
                .bind(lease_end(now, lease))
                .bind(micros(now))
                .execute(&mut *transaction)
                .await?;
                let question = format!("{REDRIVES} WHERE redrive_id = $1");
                let row = sqlx::query(AssertSqlSafe(question))
                    .bind(free)
                    .fetch_optional(&mut *transaction)
                    .await?;
                transaction.commit().await?;
                match row {
                    Some(row) if taken.rows_affected() == 1 => read_redrive(&row).map(Some),
                    // Another replica was faster.
                    Some(_) | None => Ok(None),
                }
            }

            async fn renew(
                &self,
                id: RedriveId,
                holder: &str,
                now: Timestamp,
                lease: Duration,
            ) -> Result<Hold, Error> {
                let mut transaction = self.begin().await?;
                let kept = sqlx::query(
                    "UPDATE redrives SET leased_to_us = $3 WHERE redrive_id = $1 \
                     AND holder = $2 AND state = 'running'",
                )
                .bind(id.uuid())
                .bind(holder)
                .bind(lease_end(now, lease))
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await?;
                Ok(if kept.rows_affected() == 1 { Hold::Held } else { Hold::Lost })
            }

            async fn plan(
                &self,
                redrive: &Redrive,
                holder: &str,
                plan: Plan,
                now: Timestamp,
                lease: Duration,
            ) -> Result<Option<Vec<Planned>>, Error> {
                let Plan { planned, skipped, progress } = plan;
                let mut transaction = self.begin().await?;
                // Taken first: what follows happens only while this replica holds the order.
                let held = sqlx::query(
                    "UPDATE redrives SET batch = $3, done_to = $4, next_due_at_us = $5, \
                     updated_at_us = $6, leased_to_us = $7 WHERE redrive_id = $1 \
                     AND holder = $2 AND state = 'running' AND batch = $8",
                )
                .bind(redrive.id.uuid())
                .bind(holder)
                .bind(signed(progress.batch))
                .bind(progress.done_to)
                .bind(micros(progress.next_due_at))
                .bind(micros(now))
                .bind(lease_end(now, lease))
                .bind(signed(redrive.progress.batch))
                .execute(&mut *transaction)
                .await?;
                if held.rows_affected() != 1 {
                    return Ok(None);
                }
                let mut kept = Vec::with_capacity(planned.len());
                let mut skipped = skipped;
                for one in planned {
                    let added = sqlx::query(
                        "INSERT INTO redriven (project, delivery_id, generation, redrive_id, \
                         batch, eid, trigger_name, function_name, due_at_us) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
                    )
                    .bind(redrive.project.as_str())
                    .bind(one.delivery.uuid())
                    .bind(i64::from(one.generation))
                    .bind(redrive.id.uuid())
                    .bind(signed(progress.batch))
                    .bind(one.event.eid.uuid())
                    .bind(one.trigger.as_str())
                    .bind(one.function.to_string())
                    .bind(micros(one.due_at))
                    .execute(&mut *transaction)
                    .await?;
                    if added.rows_affected() == 1 {
                        kept.push(one);
                    } else {
                        skipped += 1;
                    }
                }
                sqlx::query(
                    "UPDATE redrives SET sent = sent + $2, skipped = skipped + $3 \
                     WHERE redrive_id = $1",
                )
                .bind(redrive.id.uuid())
                .bind(i64::try_from(kept.len()).unwrap_or(i64::MAX))
                .bind(signed(skipped))
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await?;
                Ok(Some(kept))
            }

            async fn planned(&self, redrive: &Redrive, batch: u64) -> Result<Vec<Planned>, Error> {
                let mut question = Question::new("SELECT r.delivery_id, r.generation, \
                     r.trigger_name, r.function_name, r.due_at_us, ");
                question.push(EVENT_COLUMNS);
                question.push(
                    " FROM redriven AS r JOIN events AS e ON e.project = r.project \
                     AND e.eid = r.eid WHERE r.redrive_id = ",
                );
                question.push_bind(redrive.id.uuid()).push(" AND r.batch = ").push_bind(signed(batch));
                question.push(" ORDER BY r.delivery_id");
                let rows = question.build().fetch_all(self.readers()).await?;
                let one = |row: &$row| {
                    Ok(Planned {
                        event: read_event(row, &redrive.project)?,
                        delivery: DeliveryId::from_uuid(row.try_get("delivery_id")?),
                        generation: count(row.try_get("generation")?),
                        trigger: parse("redrive", row.try_get("trigger_name")?)?,
                        function: parse("redrive", row.try_get("function_name")?)?,
                        due_at: from_micros(row.try_get("due_at_us")?)?,
                    })
                };
                rows.iter().map(one).collect()
            }

            async fn end(
                &self,
                id: RedriveId,
                holder: &str,
                state: RedriveState,
                reason: Option<&str>,
                now: Timestamp,
            ) -> Result<(), Error> {
                let mut transaction = self.begin().await?;
                sqlx::query(
                    "UPDATE redrives SET state = $3, reason = $4, updated_at_us = $5, \
                     ended_at_us = $5 WHERE redrive_id = $1 AND holder = $2 AND state = 'running'",
                )
                .bind(id.uuid())
                .bind(holder)
                .bind(state.as_str())
                .bind(reason.map(without_zero))
                .bind(micros(now))
                .execute(&mut *transaction)
                .await?;
                Ok(transaction.commit().await?)
            }

            async fn release(&self, holder: &str) -> Result<(), Error> {
                let mut transaction = self.begin().await?;
                sqlx::query(
                    "UPDATE redrives SET leased_to_us = 0 WHERE holder = $1 AND state = 'running'",
                )
                .bind(holder)
                .execute(&mut *transaction)
                .await?;
                Ok(transaction.commit().await?)
            }

            async fn of_deliveries(
                &self,
                project: &ProjectName,
                deliveries: &[DeliveryId],
            ) -> Result<Vec<Redriven>, Error> {
                if deliveries.is_empty() {
                    return Ok(Vec::new());
                }
                let mut question = Question::new(
                    "SELECT r.delivery_id, r.generation, r.redrive_id, j.kind, j.created_at_us \
                     FROM redriven AS r JOIN redrives AS j ON j.redrive_id = r.redrive_id \
                     WHERE r.project = ",
                );
                question.push_bind(project.as_str().to_owned()).push(" AND r.delivery_id IN (");
                let mut list = question.separated(", ");
                for delivery in deliveries.iter().take(1000) {
                    list.push_bind(delivery.uuid());
                }
                question.push(") ORDER BY r.delivery_id, r.generation LIMIT 1000");
                let rows = question.build().fetch_all(self.readers()).await?;
                let one = |row: &$row| {
                    Ok(Redriven {
                        delivery: DeliveryId::from_uuid(row.try_get("delivery_id")?),
                        generation: count(row.try_get("generation")?),
                        redrive: RedriveId::from_uuid(row.try_get("redrive_id")?),
                        kind: read_kind(row.try_get("kind")?)?,
                        ordered_at: from_micros(row.try_get("created_at_us")?)?,
                    })
                };
                rows.iter().map(one).collect()
            }

            async fn forget(&self, before: Timestamp) -> Result<(), Error> {
                let mut transaction = self.begin().await?;
                sqlx::query("DELETE FROM redriven WHERE delivery_id < $1")
                    .bind(first_id_at(before))
                    .execute(&mut *transaction)
                    .await?;
                sqlx::query("DELETE FROM redrives WHERE state <> 'running' AND ended_at_us < $1")
                    .bind(micros(before))
                    .execute(&mut *transaction)
                    .await?;
                Ok(transaction.commit().await?)
            }
        }

        const fn id_column(kind: RedriveKind) -> &'static str {
            match kind {
                RedriveKind::Redrive => "d.delivery_id",
                RedriveKind::Replay => "e.eid",
            }
        }

        /// From `FROM` to the last condition.
        fn push_candidates(
            question: &mut Question,
            project: &ProjectName,
            order: &RedriveOrder,
            after: Option<Uuid>,
        ) {
            let filter = &order.filter;
            let bounded: &[&str] = match order.kind {
                RedriveKind::Redrive => {
                    question.push(
                        " FROM deliveries AS d JOIN events AS e ON e.project = d.project \
                         AND e.eid = d.eid WHERE d.project = ",
                    );
                    question.push_bind(project.as_str().to_owned());
                    push_ended(question, filter);
                    &["d.delivery_id", "e.eid"]
                }
                RedriveKind::Replay => {
                    question.push(" FROM events AS e WHERE e.project = ");
                    question.push_bind(project.as_str().to_owned());
                    if filter.event_type.is_none() && filter.event.is_none() {
                        // Whoever means these names them.
                        question.push(
                            " AND substr(e.event_type, 1, 7) <> 'system.' \
                             AND substr(e.event_type, 1, 4) <> 'dlq_'",
                        );
                    }
                    &["e.eid"]
                }
            };
            push_event_conditions(question, filter);
            for (column, comparison, bound) in time_bounds(filter, bounded) {
                question.push(format_args!(" AND {column} {comparison} ")).push_bind(bound);
            }
            if let Some(after) = after {
                let column = id_column(order.kind);
                question.push(format_args!(" AND {column} > ")).push_bind(after);
            }
        }

        fn push_ended(question: &mut Question, filter: &DeliveryFilter) {
            question.push(" AND d.status <> 'processed' AND d.status IN (");
            let mut list = question.separated(", ");
            // One that is under way is never made a second time.
            for status in filter.statuses.iter().filter(|status| status.is_final()) {
                list.push_bind(status.as_str());
            }
            question.push(")");
            if let Some(function) = &filter.function {
                question.push(" AND d.function_name = ").push_bind(function.to_string());
            }
            if let Some(trigger) = &filter.trigger {
                question.push(" AND d.trigger_name = ").push_bind(trigger.to_string());
            }
            if let Some(EventReference::Delivery(delivery)) = &filter.event {
                question.push(" AND d.delivery_id = ").push_bind(delivery.uuid());
            }
        }

        fn read_ended(row: &$row) -> Result<EndedDelivery, Error> {
            Ok(EndedDelivery {
                id: DeliveryId::from_uuid(row.try_get("delivery_id")?),
                trigger: parse("delivery", row.try_get("trigger_name")?)?,
                function: parse("delivery", row.try_get("function_name")?)?,
                generation: count(row.try_get("generation")?),
                status: read_status(row.try_get("status")?)?,
            })
        }

        fn read_kind(text: &str) -> Result<RedriveKind, Error> {
            RedriveKind::parse(text)
                .ok_or_else(|| Error::corrupt("redrive", format_args!("kind {text:?}")))
        }

        fn read_redrive(row: &$row) -> Result<Redrive, Error> {
            let state: &str = row.try_get("state")?;
            let state = RedriveState::parse(state)
                .ok_or_else(|| Error::corrupt("redrive", format_args!("state {state:?}")))?;
            let to_function: Option<&str> = row.try_get("to_function")?;
            Ok(Redrive {
                id: RedriveId::from_uuid(row.try_get("redrive_id")?),
                project: parse("redrive", row.try_get("project")?)?,
                order: RedriveOrder {
                    kind: read_kind(row.try_get("kind")?)?,
                    filter: conditions::from_text(row.try_get("conditions")?)?,
                    to_function: to_function.map(|text| parse("redrive", text)).transpose()?,
                    per_second: row.try_get("per_second")?,
                },
                state,
                total: unsigned(row.try_get("total")?),
                sent: unsigned(row.try_get("sent")?),
                skipped: unsigned(row.try_get("skipped")?),
                reason: row.try_get("reason")?,
                created_at: from_micros(row.try_get("created_at_us")?)?,
                updated_at: from_micros(row.try_get("updated_at_us")?)?,
                ended_at: read_time(row.try_get("ended_at_us")?)?,
                progress: Progress {
                    batch: unsigned(row.try_get("batch")?),
                    done_to: row.try_get("done_to")?,
                    next_due_at: from_micros(row.try_get("next_due_at_us")?)?,
                },
            })
        }
    };
}

pub(crate) use implement_redrives;
