WITH turns AS MATERIALIZED (
    SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::bigint[])
        AS turn (project, function_name, called_max, due_max)
),
called AS MATERIALIZED (
    SELECT one.delivery_id, one.free_at_us FROM turns CROSS JOIN LATERAL (
        SELECT delivery_id, free_at_us FROM waiting_room AS held
        WHERE held.project = turns.project AND held.function_name = turns.function_name
            AND held.free_at_us < 0
        ORDER BY held.free_at_us LIMIT turns.called_max FOR UPDATE SKIP LOCKED
    ) AS one
),
due AS MATERIALIZED (
    SELECT one.delivery_id, one.free_at_us FROM turns CROSS JOIN LATERAL (
        SELECT delivery_id, free_at_us FROM waiting_room AS held
        WHERE held.project = turns.project AND held.function_name = turns.function_name
            AND held.free_at_us BETWEEN 0 AND $5
        ORDER BY held.free_at_us LIMIT turns.due_max FOR UPDATE SKIP LOCKED
    ) AS one
    WHERE turns.due_max > 0
),
picked AS MATERIALIZED (SELECT * FROM called UNION ALL SELECT * FROM due),
claimed AS (
    UPDATE waiting_room SET free_at_us = $6
    WHERE delivery_id = ANY(ARRAY(SELECT delivery_id FROM picked))
    RETURNING delivery_id, project, trigger_name, function_name, generation, next_attempt, reason,
        since_us, due_at_us, order_key, payload
)
SELECT picked.free_at_us, claimed.* FROM claimed JOIN picked USING (delivery_id)
