INSERT INTO lanes AS lane (
    project, function_name, per_second, burst, tokens, tokens_at_us, closed_until_us,
    allowance_at_us
)
-- What went before was not counted, so it begins with one.
SELECT project, function_name, per_second, burst, 1, at_us, closed_until_us, at_us
FROM UNNEST(
    $1::text[], $2::text[], $3::double precision[], $4::bigint[], $5::bigint[], $6::bigint[]
) AS allowed (project, function_name, per_second, burst, closed_until_us, at_us)
ON CONFLICT (project, function_name) DO UPDATE SET
    per_second = EXCLUDED.per_second,
    burst = EXCLUDED.burst,
    closed_until_us = EXCLUDED.closed_until_us,
    allowance_at_us = EXCLUDED.allowance_at_us,
    tokens = CASE WHEN lane.per_second IS NULL THEN 1 ELSE LEAST(lane.burst, lane.tokens
        + lane.per_second * GREATEST(0, EXCLUDED.tokens_at_us - lane.tokens_at_us) / 1e6) END,
    tokens_at_us = GREATEST(lane.tokens_at_us, EXCLUDED.tokens_at_us),
    -- Something waits: it may go sooner now.
    due_at_us = CASE WHEN lane.due_at_us IS NULL THEN NULL
        ELSE LEAST(lane.due_at_us, EXCLUDED.allowance_at_us) END
WHERE lane.allowance_at_us IS NULL OR lane.allowance_at_us < EXCLUDED.allowance_at_us
