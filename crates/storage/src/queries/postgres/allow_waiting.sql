WITH allowed AS (
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
        -- Something waits, and may go sooner now. What may go later is met at the next look.
        due_at_us = CASE
            WHEN lane.due_at_us IS NULL THEN NULL
            WHEN EXCLUDED.per_second > lane.per_second
                OR COALESCE(EXCLUDED.closed_until_us, 0) < COALESCE(lane.closed_until_us, 0)
                THEN LEAST(lane.due_at_us, EXCLUDED.allowance_at_us)
            ELSE lane.due_at_us END
    WHERE lane.allowance_at_us IS NULL OR lane.allowance_at_us < EXCLUDED.allowance_at_us
    RETURNING lane.due_at_us, lane.allowance_at_us
)
SELECT pg_notify($7, '') WHERE EXISTS (
    SELECT 1 FROM allowed WHERE due_at_us <= allowance_at_us
)
