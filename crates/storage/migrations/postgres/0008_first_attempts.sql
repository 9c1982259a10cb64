-- The first attempt of most deliveries succeeds and is the only one: it is kept in the delivery's own
-- row, which spares a row and an index entry for each. Every other attempt is in logs.attempts.
ALTER TABLE logs.deliveries
    ADD COLUMN first_started_at_us BIGINT,
    ADD COLUMN first_duration_us BIGINT,
    ADD COLUMN first_response_status BIGINT,
    ADD COLUMN url TEXT,
    ADD COLUMN request_headers TEXT,
    ADD COLUMN request_bytes BIGINT,
    ADD COLUMN response_headers TEXT,
    ADD COLUMN response_body BYTEA,
    ADD COLUMN is_response_truncated BOOLEAN,
    ADD COLUMN worker TEXT,
    ADD COLUMN traceparent TEXT;

CREATE OR REPLACE VIEW logs.invocation_logs AS
WITH attempts AS (
    SELECT delivery_id, generation, number, started_at_us, duration_us, response_status,
        response_body, error, remark
    FROM logs.attempts
    UNION ALL
    SELECT delivery_id, 0, 1, first_started_at_us, first_duration_us, first_response_status,
        response_body, NULL, NULL
    FROM logs.deliveries
    WHERE first_started_at_us IS NOT NULL
)
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
FROM attempts
JOIN logs.deliveries ON deliveries.delivery_id = attempts.delivery_id
LEFT JOIN logs.events ON events.project = deliveries.project AND events.eid = deliveries.eid;
