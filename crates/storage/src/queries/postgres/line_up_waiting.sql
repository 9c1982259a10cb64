-- All of them as if others stood before them; who is first is let go afterwards.
WITH base AS MATERIALIZED (SELECT nextval('positions') << 20 AS position)
INSERT INTO waiting_room AS held (
    delivery_id, project, trigger_name, function_name, generation, next_attempt, reason,
    since_us, due_at_us, free_at_us, payload, order_key, position
)
SELECT delivery_id, project, trigger_name, function_name, generation, next_attempt, reason,
    since_us, due_at_us, 9223372036854775806, payload, order_key, base.position + number
FROM base, UNNEST(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[],
    $8::bigint[], $9::bigint[], $10::bytea[], $11::text[]
) WITH ORDINALITY AS put (
    delivery_id, project, trigger_name, function_name, generation, next_attempt, reason,
    since_us, due_at_us, payload, order_key, number
)
ON CONFLICT (delivery_id) DO UPDATE SET
    reason = EXCLUDED.reason,
    since_us = EXCLUDED.since_us,
    due_at_us = EXCLUDED.due_at_us,
    free_at_us = EXCLUDED.free_at_us,
    order_key = EXCLUDED.order_key,
    position = EXCLUDED.position,
    payload = EXCLUDED.payload
WHERE held.order_key IS NULL
    AND (held.generation, held.next_attempt) = (EXCLUDED.generation, EXCLUDED.next_attempt)
