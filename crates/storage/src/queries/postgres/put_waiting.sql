WITH stored AS (
    INSERT INTO waiting_room AS held (
        delivery_id, project, trigger_name, function_name, generation, next_attempt, reason,
        since_us, due_at_us, free_at_us, payload
    )
    SELECT delivery_id, project, trigger_name, function_name, generation, next_attempt, reason,
        since_us, due_at_us, due_at_us, payload
    FROM UNNEST(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[],
        $8::bigint[], $9::bigint[], $10::bytea[]
    ) AS put (
        delivery_id, project, trigger_name, function_name, generation, next_attempt, reason,
        since_us, due_at_us, payload
    )
    ON CONFLICT (delivery_id) DO UPDATE SET
        generation = EXCLUDED.generation,
        next_attempt = EXCLUDED.next_attempt,
        reason = EXCLUDED.reason,
        since_us = EXCLUDED.since_us,
        due_at_us = EXCLUDED.due_at_us,
        free_at_us = CASE held.free_at_us
            WHEN 9223372036854775806 THEN held.free_at_us ELSE EXCLUDED.free_at_us END,
        fault = NULL,
        payload = EXCLUDED.payload
    WHERE (held.generation, held.next_attempt) < (EXCLUDED.generation, EXCLUDED.next_attempt)
        OR ((held.generation, held.next_attempt) = (EXCLUDED.generation, EXCLUDED.next_attempt)
            AND (held.since_us, held.reason) <> (EXCLUDED.since_us, EXCLUDED.reason))
    RETURNING project, function_name, since_us, free_at_us
),
-- In the same transaction: whoever takes a lane afterwards finds the rows.
woken AS (
    INSERT INTO lanes AS lane (project, function_name, due_at_us)
    SELECT project, function_name, min(GREATEST(free_at_us, since_us)) FROM stored
    WHERE free_at_us < 9223372036854775806
    GROUP BY project, function_name ORDER BY project, function_name
    ON CONFLICT (project, function_name) DO UPDATE
    -- A lane that lets nothing go yet need not be looked at before it does.
    SET due_at_us = GREATEST(EXCLUDED.due_at_us, lane.opens_at_us)
    WHERE lane.due_at_us IS NULL
        OR lane.due_at_us > GREATEST(EXCLUDED.due_at_us, lane.opens_at_us)
    RETURNING lane.due_at_us, lane.due_at_us IS NOT DISTINCT FROM lane.closed_until_us AS is_closed
)
-- What is closed, or due later than the next look, is met then; nobody is woken for each row of it.
SELECT pg_notify($11, '')
WHERE EXISTS (SELECT 1 FROM woken WHERE NOT is_closed AND due_at_us < $12)
