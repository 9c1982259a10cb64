WITH lines AS (
    SELECT DISTINCT project, trigger_name, order_key
    FROM UNNEST($1::text[], $2::text[], $3::text[]) AS line (project, trigger_name, order_key)
),
firsts AS MATERIALIZED (
    SELECT first.delivery_id FROM lines CROSS JOIN LATERAL (
        SELECT delivery_id, free_at_us FROM waiting_room AS held
        WHERE held.project = lines.project AND held.trigger_name = lines.trigger_name
            AND held.order_key = lines.order_key
        ORDER BY held.position LIMIT 1
    ) AS first
    WHERE first.free_at_us = 9223372036854775806
),
let_go AS (
    UPDATE waiting_room SET free_at_us = due_at_us
    WHERE delivery_id = ANY(ARRAY(SELECT delivery_id FROM firsts))
    RETURNING project, function_name, since_us, free_at_us
),
woken AS (
    INSERT INTO lanes AS lane (project, function_name, due_at_us)
    SELECT project, function_name, min(GREATEST(free_at_us, since_us)) FROM let_go
    GROUP BY project, function_name ORDER BY project, function_name
    ON CONFLICT (project, function_name) DO UPDATE
    -- A lane that lets nothing go yet need not be looked at before it does.
    SET due_at_us = GREATEST(EXCLUDED.due_at_us, lane.opens_at_us)
    WHERE lane.due_at_us IS NULL
        OR lane.due_at_us > GREATEST(EXCLUDED.due_at_us, lane.opens_at_us)
    RETURNING lane.due_at_us IS NOT DISTINCT FROM lane.closed_until_us AS is_closed
)
-- What is closed is met at the next look; nobody is woken for each row behind it.
SELECT pg_notify($4, '') WHERE EXISTS (SELECT 1 FROM woken WHERE NOT is_closed)
