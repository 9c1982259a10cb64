-- The first attempt of most deliveries succeeds and is the only one: it is kept in the delivery's own
-- row, which spares a row and an index entry for each. Every other attempt is in attempts.
ALTER TABLE deliveries ADD COLUMN first_started_at_us INTEGER;
ALTER TABLE deliveries ADD COLUMN first_duration_us INTEGER;
ALTER TABLE deliveries ADD COLUMN first_response_status INTEGER;
ALTER TABLE deliveries ADD COLUMN url TEXT;
ALTER TABLE deliveries ADD COLUMN request_headers TEXT;
ALTER TABLE deliveries ADD COLUMN request_bytes INTEGER;
ALTER TABLE deliveries ADD COLUMN response_headers TEXT;
ALTER TABLE deliveries ADD COLUMN response_body BLOB;
ALTER TABLE deliveries ADD COLUMN is_response_truncated BOOLEAN;
ALTER TABLE deliveries ADD COLUMN worker TEXT;
ALTER TABLE deliveries ADD COLUMN traceparent TEXT;

DROP VIEW invocation_logs;
CREATE VIEW invocation_logs AS
WITH made AS (
    SELECT delivery_id, generation, number, started_at_us, duration_us, response_status,
        response_body, error, remark
    FROM attempts
    UNION ALL
    SELECT delivery_id, 0, 1, first_started_at_us, first_duration_us, first_response_status,
        response_body, NULL, NULL
    FROM deliveries
    WHERE first_started_at_us IS NOT NULL
)
SELECT
    lower(hex(made.delivery_id)) || '.' || made.generation || '.' || made.number AS _id,
    lower(hex(made.delivery_id)) AS event_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', made.started_at_us / 1000000.0, 'unixepoch')
        AS invocation_time,
    CAST(events.data AS TEXT) AS request_payload,
    COALESCE(made.response_status, 0) AS response_status_code,
    CAST(made.response_body AS TEXT) AS response_body,
    COALESCE(made.error, '') AS error_msg,
    made.remark,
    deliveries.project,
    deliveries.function_name AS function,
    made.number AS attempt,
    made.duration_us / 1000 AS duration_ms
FROM made
JOIN deliveries ON deliveries.delivery_id = made.delivery_id
LEFT JOIN events ON events.project = deliveries.project AND events.eid = deliveries.eid;
