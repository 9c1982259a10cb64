-- What happened. Ids begin with the time of the event, so a day is a range of them. Times are
-- microseconds since 1970.

CREATE TABLE events (
    project TEXT NOT NULL,
    eid BLOB NOT NULL,
    -- The client's own id; NULL where the eid's text form serves as one.
    client_id TEXT,
    source TEXT NOT NULL,
    event_type TEXT NOT NULL,
    subject TEXT,
    time_us INTEGER NOT NULL,
    accepted_at_us INTEGER NOT NULL,
    data_content_type TEXT,
    data BLOB NOT NULL,
    -- A JSON object of what few events have; NULL when there is nothing.
    attributes TEXT,
    PRIMARY KEY (project, eid)
);
CREATE INDEX events_client_id ON events (project, client_id) WHERE client_id IS NOT NULL;

CREATE TABLE deliveries (
    project TEXT NOT NULL,
    delivery_id BLOB NOT NULL,
    eid BLOB NOT NULL,
    trigger_name TEXT NOT NULL,
    function_name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    -- How far it is within its generation: the number of its last attempt, and far beyond that
    -- when it was ended without one.
    step INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    status TEXT NOT NULL,
    remark TEXT,
    next_attempt_at_us INTEGER,
    last_attempt_at_us INTEGER,
    duration_us INTEGER,
    response_status INTEGER,
    error_class TEXT,
    error TEXT,
    PRIMARY KEY (project, delivery_id)
);
CREATE INDEX deliveries_unprocessed ON deliveries (project, delivery_id)
    WHERE status <> 'processed';

CREATE TABLE attempts (
    delivery_id BLOB NOT NULL,
    generation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    started_at_us INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    url TEXT NOT NULL,
    response_status INTEGER,
    error_class TEXT,
    error TEXT,
    -- JSON arrays of pairs.
    request_headers TEXT NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_headers TEXT NOT NULL,
    response_body BLOB NOT NULL,
    is_response_truncated BOOLEAN NOT NULL,
    worker TEXT NOT NULL,
    traceparent TEXT,
    status TEXT NOT NULL,
    remark TEXT,
    next_attempt_at_us INTEGER,
    PRIMARY KEY (delivery_id, generation, number)
);

-- Space Cloud's columns.
CREATE VIEW event_logs AS
SELECT
    lower(hex(deliveries.delivery_id)) AS _id,
    lower(hex(events.eid)) AS batchid,
    events.event_type AS type,
    deliveries.trigger_name AS rule_name,
    ((instr('0123456789ABCDEF', substr(hex(deliveries.delivery_id), 31, 1)) - 1) * 16
        + instr('0123456789ABCDEF', substr(hex(deliveries.delivery_id), 32, 1)) - 1) % 100 AS token,
    strftime('%Y-%m-%dT%H:%M:%fZ',
        COALESCE(deliveries.next_attempt_at_us, events.accepted_at_us) / 1000000.0,
        'unixepoch') AS ts,
    strftime('%Y-%m-%dT%H:%M:%fZ', events.accepted_at_us / 1000000.0, 'unixepoch') AS event_ts,
    CAST(events.data AS TEXT) AS payload,
    deliveries.status,
    deliveries.remark,
    'event' AS trigger_type,
    deliveries.project
FROM deliveries
JOIN events ON events.project = deliveries.project AND events.eid = deliveries.eid;

CREATE VIEW invocation_logs AS
SELECT
    lower(hex(attempts.delivery_id)) || '.' || attempts.generation || '.' || attempts.number AS _id,
    lower(hex(attempts.delivery_id)) AS event_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', attempts.started_at_us / 1000000.0, 'unixepoch')
        AS invocation_time,
    CAST(events.data AS TEXT) AS request_payload,
    COALESCE(attempts.response_status, 0) AS response_status_code,
    CAST(attempts.response_body AS TEXT) AS response_body,
    COALESCE(attempts.error, '') AS error_msg,
    attempts.remark,
    deliveries.project,
    deliveries.function_name AS function,
    attempts.number AS attempt,
    attempts.duration_us / 1000 AS duration_ms
FROM attempts
JOIN deliveries ON deliveries.delivery_id = attempts.delivery_id
LEFT JOIN events ON events.project = deliveries.project AND events.eid = deliveries.eid;
