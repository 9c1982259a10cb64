UPDATE lanes SET tokens = turn.tokens,
    -- Clocks differ a little: no time is counted twice.
    tokens_at_us = GREATEST(lanes.tokens_at_us, $5), due_at_us = CASE
    -- Nothing waits that anybody could let go. GREATEST passes over NULL, so it is asked first.
    WHEN next.free_at_us IS NULL OR next.free_at_us >= 9223372036854775806 THEN NULL
    -- Called: no gate holds it up.
    WHEN next.free_at_us < 0 THEN $5
    ELSE GREATEST(next.free_at_us, turn.not_before)
END
FROM UNNEST($1::text[], $2::text[], $3::double precision[], $4::bigint[])
    AS turn (project, function_name, tokens, not_before)
LEFT JOIN LATERAL (
    SELECT free_at_us FROM waiting_room AS held
    WHERE held.project = turn.project AND held.function_name = turn.function_name
    ORDER BY held.free_at_us LIMIT 1
) AS next ON TRUE
WHERE lanes.project = turn.project AND lanes.function_name = turn.function_name
