//! The log's questions, written once for both databases; see `registry_store/implement.rs` for
//! why this is a macro.

/// Makes the functions `list`, `lines` and `history`, which ask a pool of `$database`.
macro_rules! implement_log_reading {
    ($database:ty, $row:ty) => {
        type Pool = sqlx::Pool<$database>;
        type Question = sqlx::QueryBuilder<$database>;

        /// A page of a listing, newest first.
        async fn list(
            pool: &Pool,
            project: &ProjectName,
            filter: &DeliveryFilter,
            before: Option<Cursor>,
            limit: u32,
        ) -> Result<Vec<DeliveryLine>, Error> {
            let limit = limit.min(LINES_MAX);
            if filter.asks_for_deliveries() && !filter.names_an_event() {
                return list_deliveries(pool, project, filter, before, limit).await;
            }
            let events = list_events(pool, project, filter, before, limit).await?;
            let eids = events.iter().map(|(line, _)| line.eid);
            let mut states = states_of(pool, project, eids).await?;
            let mut lines = Vec::with_capacity(events.len());
            for (line, owed) in events {
                let mut states = states.remove(&line.eid).unwrap_or_default();
                owed.complete(line.eid, &mut states)?;
                states.sort_by_key(|state| Reverse(state.id));
                lines.extend(line.with_each(states));
            }
            lines.retain(|line| {
                before.is_none_or(|before| line.comes_after(before)) && filter.admits(line)
            });
            lines.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(lines)
        }

        /// Lines that are deliveries, in the order of their ids.
        async fn list_deliveries(
            pool: &Pool,
            project: &ProjectName,
            filter: &DeliveryFilter,
            before: Option<Cursor>,
            limit: u32,
        ) -> Result<Vec<DeliveryLine>, Error> {
            let mut question = Question::new(LINES);
            question.push(" WHERE d.project = ").push_bind(project.as_str().to_owned());
            if !filter.statuses.is_empty() {
                question.push(" AND d.status IN (");
                let mut list = question.separated(", ");
                for status in &filter.statuses {
                    list.push_bind(status.as_str());
                }
                question.push(")");
                if !filter.statuses.contains(&Status::Processed) {
                    // Says again what follows, in the words of the partial index.
                    question.push(" AND d.status <> 'processed'");
                }
            }
            if let Some(function) = &filter.function {
                question.push(" AND d.function_name = ").push_bind(function.to_string());
            }
            if let Some(trigger) = &filter.trigger {
                question.push(" AND d.trigger_name = ").push_bind(trigger.to_string());
            }
            if let Some(EventReference::Delivery(delivery)) = &filter.event {
                question.push(" AND d.delivery_id = ").push_bind(delivery.uuid());
            }
            push_event_conditions(&mut question, filter);
            for (column, comparison, bound) in time_bounds(filter, &["d.delivery_id", "e.eid"]) {
                question.push(format_args!(" AND {column} {comparison} ")).push_bind(bound);
            }
            match before {
                Some(Cursor { delivery: Some(delivery), .. }) => {
                    question.push(" AND d.delivery_id < ").push_bind(delivery.uuid());
                }
                Some(Cursor { event, delivery: None }) => {
                    question.push(" AND d.eid < ").push_bind(event.uuid());
                }
                None => {}
            }
            question.push(" ORDER BY d.delivery_id DESC LIMIT ").push_bind(i64::from(limit));
            let rows = question.build().fetch_all(pool).await?;
            rows.iter().map(|row| Ok(read_event_line(row)?.with(read_state(row)?))).collect()
        }

        pub(super) fn push_event_conditions(question: &mut Question, filter: &DeliveryFilter) {
            if let Some(event_type) = &filter.event_type {
                question.push(" AND e.event_type = ").push_bind(event_type.as_str().to_owned());
            }
            match &filter.event {
                Some(EventReference::Internal(eid)) => {
                    question.push(" AND e.eid = ").push_bind(eid.uuid());
                }
                Some(EventReference::Client(id)) => {
                    question.push(" AND (e.client_id = ").push_bind(id.clone());
                    if let Ok(eid) = id.parse::<EventId>() {
                        question.push(" OR e.client_id IS NULL AND e.eid = ").push_bind(eid.uuid());
                    }
                    question.push(")");
                }
                Some(EventReference::Delivery(_)) | None => {}
            }
        }

        /// Lines of events, still without their deliveries. The event the cursor names is among
        /// them, since some of its deliveries may follow the cursor.
        async fn list_events(
            pool: &Pool,
            project: &ProjectName,
            filter: &DeliveryFilter,
            before: Option<Cursor>,
            limit: u32,
        ) -> Result<Vec<(DeliveryLine, Owed<'static>)>, Error> {
            let mut question = Question::new(
                "SELECT e.eid, e.client_id, e.event_type, e.subject, e.accepted_at_us, e.owed \
                 FROM events AS e",
            );
            question.push(" WHERE e.project = ").push_bind(project.as_str().to_owned());
            push_event_conditions(&mut question, filter);
            for (column, comparison, bound) in time_bounds(filter, &["e.eid"]) {
                question.push(format_args!(" AND {column} {comparison} ")).push_bind(bound);
            }
            if let Some(before) = before {
                question.push(" AND e.eid <= ").push_bind(before.event.uuid());
            }
            question.push(" ORDER BY e.eid DESC LIMIT ").push_bind(i64::from(limit) + 1);
            let rows = question.build().fetch_all(pool).await?;
            rows.iter().map(|row| Ok((read_event_line(row)?, read_owed(row)?))).collect()
        }

        /// First attempts that no delivery's row holds yet; mostly they were only reported again.
        async fn unknown<'a>(
            connection: &mut <$database as sqlx::Database>::Connection,
            attempts: Vec<OfProject<'a>>,
        ) -> Result<Vec<AttemptRow<'a>>, Error> {
            if attempts.is_empty() {
                return Ok(Vec::new());
            }
            let mut question = Question::new(
                "SELECT delivery_id FROM deliveries WHERE first_started_at_us IS NOT NULL \
                 AND project IN (",
            );
            let projects: BTreeSet<&str> = attempts.iter().map(|(project, _)| *project).collect();
            let mut list = question.separated(", ");
            for project in projects {
                list.push_bind(project.to_owned());
            }
            question.push(") AND delivery_id IN (");
            let mut list = question.separated(", ");
            for (_, attempt) in &attempts {
                list.push_bind(attempt.delivery);
            }
            question.push(")");
            let known: Vec<Uuid> = question.build_query_scalar().fetch_all(connection).await?;
            let known: BTreeSet<Uuid> = known.into_iter().collect();
            let attempts = attempts.into_iter().map(|(_, attempt)| attempt);
            Ok(attempts.filter(|attempt| !known.contains(&attempt.delivery)).collect())
        }

        /// The deliveries of events. They lie in the ranges of their events' milliseconds, so the
        /// primary key finds them.
        async fn states_of(
            pool: &Pool,
            project: &ProjectName,
            events: impl Iterator<Item = EventId>,
        ) -> Result<HashMap<EventId, Vec<DeliveryState>>, Error> {
            let spans: BTreeSet<_> = events.map(|event| span_of(event.accepted_at())).collect();
            let mut found: HashMap<EventId, Vec<DeliveryState>> = HashMap::new();
            if spans.is_empty() {
                return Ok(found);
            }
            let mut question = Question::new(DELIVERY_COLUMNS);
            question.push(" FROM (");
            question.push_values(spans, |mut row, (first, end)| {
                row.push_bind(first).push_bind(end);
            });
            question.push(
                ") AS span CROSS JOIN deliveries AS d WHERE d.delivery_id >= span.column1 \
                 AND d.delivery_id < span.column2 AND d.project = ",
            );
            question.push_bind(project.as_str().to_owned());
            for row in question.build().fetch_all(pool).await? {
                let eid = EventId::from_uuid(row.try_get("eid")?);
                found.entry(eid).or_default().push(read_state(&row)?);
            }
            Ok(found)
        }

        /// The lines of these deliveries, in no order.
        async fn lines(
            pool: &Pool,
            project: &ProjectName,
            deliveries: &[DeliveryId],
        ) -> Result<Vec<DeliveryLine>, Error> {
            let mut found = Vec::with_capacity(deliveries.len());
            for some in deliveries.chunks(1000) {
                let mut question = Question::new(LINES);
                question.push(" WHERE d.project = ").push_bind(project.as_str().to_owned());
                question.push(" AND d.delivery_id IN (");
                let mut list = question.separated(", ");
                for delivery in some {
                    list.push_bind(delivery.uuid());
                }
                question.push(")");
                for row in question.build().fetch_all(pool).await? {
                    found.push(read_event_line(&row)?.with(read_state(&row)?));
                }
            }
            Ok(found)
        }

        async fn history(
            pool: &Pool,
            project: &ProjectName,
            reference: &EventReference,
        ) -> Result<Option<EventHistory>, Error> {
            let Some((event, owed)) = find_event(pool, project, reference).await? else {
                return Ok(None);
            };
            let mut states = states_of(pool, project, std::iter::once(event.eid)).await?;
            let mut states = states.remove(&event.eid).unwrap_or_default();
            owed.complete(event.eid, &mut states)?;
            states.sort_by(|one, other| one.trigger.cmp(&other.trigger));
            let mut deliveries = Vec::with_capacity(states.len());
            for state in states {
                let attempts = attempts_of(pool, project, event.eid, &state).await?;
                deliveries.push((state, attempts));
            }
            Ok(Some(EventHistory { event, deliveries }))
        }

        async fn find_event(
            pool: &Pool,
            project: &ProjectName,
            reference: &EventReference,
        ) -> Result<Option<(Event, Owed<'static>)>, Error> {
            let mut question = Question::new(
                "SELECT e.eid, e.client_id, e.source, e.event_type, e.subject, e.time_us, \
                 e.accepted_at_us, e.data_content_type, e.data, e.attributes, e.owed \
                 FROM events AS e",
            );
            question.push(" WHERE e.project = ").push_bind(project.as_str().to_owned());
            let filter = DeliveryFilter { event: Some(reference.clone()), ..DeliveryFilter::default() };
            push_event_conditions(&mut question, &filter);
            if let EventReference::Delivery(delivery) = reference {
                let eid: Option<Uuid> = sqlx::query_scalar(
                    "SELECT eid FROM deliveries WHERE project = $1 AND delivery_id = $2",
                )
                .bind(project.as_str())
                .bind(delivery.uuid())
                .fetch_optional(pool)
                .await?;
                let eid = match eid {
                    Some(eid) => eid,
                    None => match event_that_owes(pool, project, *delivery).await? {
                        Some(eid) => eid.uuid(),
                        None => return Ok(None),
                    },
                };
                question.push(" AND e.eid = ").push_bind(eid);
            }
            // A client may use an id again, after a day: the newest event has it.
            question.push(" ORDER BY e.eid DESC LIMIT 1");
            let row = question.build().fetch_optional(pool).await?;
            row.as_ref().map(|row| Ok((read_event(row, project)?, read_owed(row)?))).transpose()
        }

        /// The event of a delivery that has no row yet.
        async fn event_that_owes(
            pool: &Pool,
            project: &ProjectName,
            delivery: DeliveryId,
        ) -> Result<Option<EventId>, Error> {
            let (first, end) = span_of(delivery.accepted_at());
            let rows = sqlx::query(
                "SELECT eid, owed FROM events WHERE project = $1 AND eid >= $2 AND eid < $3 \
                 AND owed IS NOT NULL",
            )
            .bind(project.as_str())
            .bind(first)
            .bind(end)
            .fetch_all(pool)
            .await?;
            for row in &rows {
                let event = EventId::from_uuid(row.try_get("eid")?);
                if read_owed(row)?.holds(event, delivery) {
                    return Ok(Some(event));
                }
            }
            Ok(None)
        }

        /// Makes the rows that were spared, of these events: of one batch, so hardly ever in two steps.
        async fn make_owed(
            connection: &mut <$database as sqlx::Database>::Connection,
            project: &str,
            events: &[Uuid],
        ) -> Result<(), Error> {
            for some in events.chunks(BOUND_MAX) {
                let mut question =
                    Question::new("SELECT eid, owed FROM events WHERE owed IS NOT NULL AND project = ");
                question.push_bind(project.to_owned()).push(" AND eid IN (");
                let mut list = question.separated(", ");
                for event in some {
                    list.push_bind(*event);
                }
                question.push(")");
                let mut found = Vec::with_capacity(some.len());
                for row in &question.build().fetch_all(&mut *connection).await? {
                    match read_owed(row) {
                        Ok(owed) => found.push((EventId::from_uuid(row.try_get("eid")?), owed)),
                        // It must not hold up the others for ever.
                        Err(error) => tracing::error!(%error, "what an event owes cannot be read"),
                    }
                }
                let mut rows: Vec<DeliveryRow<'_>> =
                    found.iter().flat_map(|(event, owed)| owed.rows(project, *event)).collect();
                // In the order of their keys, as everybody inserts them.
                rows.sort_by_key(|row| row.delivery);
                insert_deliveries(connection, &rows).await?;
            }
            Ok(())
        }

        fn read_owed(row: &$row) -> Result<Owed<'static>, Error> {
            let text: Option<String> = row.try_get("owed")?;
            Owed::from_text(text.as_deref())
        }

        async fn attempts_of(
            pool: &Pool,
            project: &ProjectName,
            event: EventId,
            state: &DeliveryState,
        ) -> Result<Vec<Attempted>, Error> {
            let rows = sqlx::query(
                "SELECT number, generation, started_at_us, duration_us, url, response_status, \
                 error_class, error, request_headers, request_bytes, response_headers, \
                 response_body, is_response_truncated, worker, traceparent, status, remark, \
                 next_attempt_at_us FROM attempts WHERE delivery_id = $1 \
                 ORDER BY generation, number LIMIT $2",
            )
            .bind(state.id.uuid())
            .bind(i64::from(LINES_MAX))
            .fetch_all(pool)
            .await?;
            let first = sqlx::query(
                "SELECT first_started_at_us, first_duration_us, first_response_status, url, \
                 request_headers, request_bytes, response_headers, response_body, \
                 is_response_truncated, worker, traceparent FROM deliveries \
                 WHERE project = $1 AND delivery_id = $2 AND first_started_at_us IS NOT NULL",
            )
            .bind(project.as_str())
            .bind(state.id.uuid())
            .fetch_optional(pool)
            .await?;
            let first = first.as_ref().map(|row| read_first_attempt(row, project, event, state));
            let others = rows.iter().map(|row| read_attempt(row, project, event, state));
            let mut attempts = first.into_iter().chain(others).collect::<Result<Vec<_>, _>>()?;
            // Reported twice, the delivery's own row has it.
            attempts.dedup_by_key(|attempt| (attempt.generation, attempt.number));
            Ok(attempts)
        }

        fn read_event_line(row: &$row) -> Result<DeliveryLine, Error> {
            let eid = EventId::from_uuid(row.try_get("eid")?);
            let client_id: Option<String> = row.try_get("client_id")?;
            Ok(DeliveryLine {
                eid,
                event_id: client_id.unwrap_or_else(|| eid.to_string()),
                event_type: parse("event", row.try_get("event_type")?)?,
                subject: row.try_get("subject")?,
                accepted_at: from_micros(row.try_get("accepted_at_us")?)?,
                delivery: None,
            })
        }

        pub(super) fn read_event(row: &$row, project: &ProjectName) -> Result<Event, Error> {
            let line = read_event_line(row)?;
            let mut event = Event {
                eid: line.eid,
                project: project.clone(),
                id: line.event_id,
                source: row.try_get("source")?,
                event_type: line.event_type,
                subject: line.subject,
                time: from_micros(row.try_get("time_us")?)?,
                accepted_at: line.accepted_at,
                data_content_type: row.try_get("data_content_type")?,
                data: row.try_get::<Vec<u8>, _>("data")?.into(),
                actor: None,
                partition_key: None,
                correlation_id: None,
                causation_id: None,
                depth: 0,
                ancestry: Vec::new(),
                reply_to: None,
                deliver_at: None,
                traceparent: None,
                extensions: BTreeMap::new(),
            };
            let attributes: Option<String> = row.try_get("attributes")?;
            Attributes::from_text(attributes.as_deref())?.give_to(&mut event);
            Ok(event)
        }

        fn read_state(row: &$row) -> Result<DeliveryState, Error> {
            Ok(DeliveryState {
                id: DeliveryId::from_uuid(row.try_get("delivery_id")?),
                trigger: parse("delivery", row.try_get("trigger_name")?)?,
                function: parse("delivery", row.try_get("function_name")?)?,
                status: read_status(row.try_get("status")?)?,
                remark: row.try_get("remark")?,
                generation: count(row.try_get("generation")?),
                attempts: count(row.try_get("attempts")?),
                next_attempt_at: read_time(row.try_get("next_attempt_at_us")?)?,
                last_attempt_at: read_time(row.try_get("last_attempt_at_us")?)?,
                duration: row.try_get::<Option<i64>, _>("duration_us")?.map(from_duration_micros),
                response_status: read_response_status(row.try_get("response_status")?),
                error_class: read_error_class(row.try_get("error_class")?)?,
                error: row.try_get("error")?,
            })
        }

        /// The first attempt where it succeeded, out of the delivery's own row.
        fn read_first_attempt(
            row: &$row,
            project: &ProjectName,
            event: EventId,
            state: &DeliveryState,
        ) -> Result<Attempted, Error> {
            Ok(Attempted {
                project: project.clone(),
                event,
                delivery: state.id,
                trigger: state.trigger.clone(),
                function: state.function.clone(),
                number: 1,
                generation: 0,
                started_at: from_micros(row.try_get("first_started_at_us")?)?,
                duration: from_duration_micros(row.try_get("first_duration_us")?),
                url: row.try_get("url")?,
                response_status: read_response_status(row.try_get("first_response_status")?),
                error_class: None,
                error: None,
                request_headers: domain::record::HeaderLines::from_text(row.try_get("request_headers")?),
                request_bytes: unsigned(row.try_get("request_bytes")?),
                response_headers: domain::record::HeaderLines::from_text(row.try_get("response_headers")?),
                response_body: row.try_get::<Vec<u8>, _>("response_body")?.into(),
                is_response_truncated: row.try_get("is_response_truncated")?,
                worker: row.try_get("worker")?,
                traceparent: row.try_get("traceparent")?,
                status: Status::Processed,
                remark: None,
                next_attempt_at: None,
            })
        }

        fn read_attempt(
            row: &$row,
            project: &ProjectName,
            event: EventId,
            state: &DeliveryState,
        ) -> Result<Attempted, Error> {
            Ok(Attempted {
                project: project.clone(),
                event,
                delivery: state.id,
                trigger: state.trigger.clone(),
                function: state.function.clone(),
                number: count(row.try_get("number")?),
                generation: count(row.try_get("generation")?),
                started_at: from_micros(row.try_get("started_at_us")?)?,
                duration: from_duration_micros(row.try_get("duration_us")?),
                url: row.try_get("url")?,
                response_status: read_response_status(row.try_get("response_status")?),
                error_class: read_error_class(row.try_get("error_class")?)?,
                error: row.try_get("error")?,
                request_headers: domain::record::HeaderLines::from_text(row.try_get("request_headers")?),
                request_bytes: unsigned(row.try_get("request_bytes")?),
                response_headers: domain::record::HeaderLines::from_text(row.try_get("response_headers")?),
                response_body: row.try_get::<Vec<u8>, _>("response_body")?.into(),
                is_response_truncated: row.try_get("is_response_truncated")?,
                worker: row.try_get("worker")?,
                traceparent: row.try_get("traceparent")?,
                status: read_status(row.try_get("status")?)?,
                remark: row.try_get("remark")?,
                next_attempt_at: read_time(row.try_get("next_attempt_at_us")?)?,
            })
        }
    };
}

pub(crate) use implement_log_reading;
