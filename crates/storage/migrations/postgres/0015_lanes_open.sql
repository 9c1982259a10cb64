-- When a lane lets something go at the earliest: not before its endpoint may be asked again, and not
-- before it has gathered what it may send. What comes to wait behind it before then need not have it
-- looked at.
ALTER TABLE delivery.lanes ADD COLUMN opens_at_us BIGINT GENERATED ALWAYS AS (GREATEST(
    COALESCE(closed_until_us, 0),
    CASE
        WHEN per_second > 0 AND tokens < GREATEST(1, LEAST(per_second * 0.02, burst))
        THEN tokens_at_us + LEAST(
            (GREATEST(1, LEAST(per_second * 0.02, burst)) - tokens) / per_second * 1e6, 1e15)::bigint
        ELSE 0
    END
)) STORED;
