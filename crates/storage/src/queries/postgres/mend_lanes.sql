-- One index probe for each lane.
WITH RECURSIVE found (project, function_name, free_at_us) AS (
    (SELECT project, function_name, free_at_us FROM waiting_room
        ORDER BY project, function_name, free_at_us LIMIT 1)
    UNION ALL
    SELECT next.* FROM found CROSS JOIN LATERAL (
        SELECT project, function_name, free_at_us FROM waiting_room AS held
        WHERE (held.project, held.function_name) > (found.project, found.function_name)
        ORDER BY project, function_name, free_at_us LIMIT 1
    ) AS next
)
INSERT INTO lanes AS lane (project, function_name, due_at_us)
SELECT project, function_name, GREATEST(free_at_us, 0) FROM found
WHERE free_at_us < 9223372036854775806
-- A lane may well be looked at later than that; then this is one look more.
ON CONFLICT (project, function_name) DO UPDATE SET due_at_us = EXCLUDED.due_at_us
WHERE lane.due_at_us IS NULL OR lane.due_at_us > EXCLUDED.due_at_us
