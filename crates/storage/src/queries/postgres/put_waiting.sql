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
        free_at_us = EXCLUDED.free_at_us,
        payload = EXCLUDED.payload
    WHERE (held.generation, held.next_attempt) < (EXCLUDED.generation, EXCLUDED.next_attempt)
    RETURNING 1
)
-- In the same transaction: who is told finds the rows.
SELECT pg_notify($11, '') FROM (SELECT count(*) AS rows FROM stored) AS counted WHERE rows > 0
