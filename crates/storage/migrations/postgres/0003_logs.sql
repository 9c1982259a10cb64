-- What happened; owned by log-service, whose role also makes and drops the partitions.
--
-- Every table is divided by ranges of ids, which begin with the time of the event, one range a
-- day. There is no default partition: a day's tables are made ahead and dropped whole.
-- Times are microseconds since 1970.
CREATE SCHEMA IF NOT EXISTS logs;

CREATE TABLE logs.events (
    project TEXT COLLATE "C" NOT NULL,
    eid UUID NOT NULL,
    -- The client's own id; NULL where the eid's text form serves as one.
    client_id TEXT COLLATE "C",
    source TEXT NOT NULL,
    event_type TEXT NOT NULL,
    subject TEXT,
    time_us BIGINT NOT NULL,
    accepted_at_us BIGINT NOT NULL,
    data_content_type TEXT,
    data BYTEA NOT NULL,
    -- A JSON object of what few events have; NULL when there is nothing.
    attributes TEXT,
    PRIMARY KEY (project, eid)
) PARTITION BY RANGE (eid);
CREATE INDEX events_client_id ON logs.events (project, client_id) WHERE client_id IS NOT NULL;

CREATE TABLE logs.deliveries (
    project TEXT COLLATE "C" NOT NULL,
    delivery_id UUID NOT NULL,
    eid UUID NOT NULL,
    trigger_name TEXT NOT NULL,
    function_name TEXT NOT NULL,
    generation BIGINT NOT NULL,
    -- How far it is within its generation: the number of its last attempt, and far beyond that
    -- when it was ended without one.
    step BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    status TEXT NOT NULL,
    remark TEXT,
    next_attempt_at_us BIGINT,
    last_attempt_at_us BIGINT,
    duration_us BIGINT,
    response_status BIGINT,
    error_class TEXT,
    error TEXT,
    PRIMARY KEY (project, delivery_id)
) PARTITION BY RANGE (delivery_id);
CREATE INDEX deliveries_unprocessed ON logs.deliveries (project, delivery_id)
    WHERE status <> 'processed';

CREATE TABLE logs.attempts (
    delivery_id UUID NOT NULL,
    generation BIGINT NOT NULL,
    number BIGINT NOT NULL,
    started_at_us BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    url TEXT NOT NULL,
    response_status BIGINT,
    error_class TEXT,
    error TEXT,
    -- JSON arrays of pairs.
    request_headers TEXT NOT NULL,
    request_bytes BIGINT NOT NULL,
    response_headers TEXT NOT NULL,
    response_body BYTEA NOT NULL,
    is_response_truncated BOOLEAN NOT NULL,
    worker TEXT NOT NULL,
    traceparent TEXT,
    status TEXT NOT NULL,
    remark TEXT,
    next_attempt_at_us BIGINT,
    PRIMARY KEY (delivery_id, generation, number)
) PARTITION BY RANGE (delivery_id);

CREATE FUNCTION logs.time_of(micros BIGINT) RETURNS TIMESTAMPTZ
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT TIMESTAMPTZ 'epoch' + micros * INTERVAL '1 microsecond' $$;

-- What is no text is shown in base 64.
CREATE FUNCTION logs.text_of(content BYTEA) RETURNS TEXT
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
    RETURN convert_from(content, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN encode(content, 'base64');
END
$$;

-- Space Cloud's columns.
CREATE VIEW logs.event_logs AS
SELECT
    deliveries.delivery_id::text AS _id,
    events.eid::text AS batchid,
    events.event_type AS type,
    deliveries.trigger_name AS rule_name,
    get_byte(uuid_send(deliveries.delivery_id), 15) % 100 AS token,
    logs.time_of(COALESCE(deliveries.next_attempt_at_us, events.accepted_at_us)) AS ts,
    logs.time_of(events.accepted_at_us) AS event_ts,
    logs.text_of(events.data) AS payload,
    deliveries.status,
    deliveries.remark,
    'event' AS trigger_type,
    deliveries.project
FROM logs.deliveries
JOIN logs.events ON events.project = deliveries.project AND events.eid = deliveries.eid;

CREATE VIEW logs.invocation_logs AS
SELECT
    attempts.delivery_id::text || '.' || attempts.generation || '.' || attempts.number AS _id,
    attempts.delivery_id::text AS event_id,
    logs.time_of(attempts.started_at_us) AS invocation_time,
    logs.text_of(events.data) AS request_payload,
    COALESCE(attempts.response_status, 0) AS response_status_code,
    logs.text_of(attempts.response_body) AS response_body,
    COALESCE(attempts.error, '') AS error_msg,
    attempts.remark,
    deliveries.project,
    deliveries.function_name AS function,
    attempts.number AS attempt,
    attempts.duration_us / 1000 AS duration_ms
FROM logs.attempts
JOIN logs.deliveries ON deliveries.delivery_id = attempts.delivery_id
LEFT JOIN logs.events ON events.project = deliveries.project AND events.eid = deliveries.eid;
