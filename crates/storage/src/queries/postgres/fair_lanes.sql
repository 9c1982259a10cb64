-- Project by project, each with as many lanes as the others: one index probe for each project.
WITH RECURSIVE names (project) AS (
    (SELECT project FROM lanes WHERE due_at_us IS NOT NULL ORDER BY project LIMIT 1)
    UNION ALL
    SELECT (
        SELECT lane.project FROM lanes AS lane
        WHERE lane.due_at_us IS NOT NULL AND lane.project > names.project
        ORDER BY lane.project LIMIT 1
    )
    FROM names WHERE names.project IS NOT NULL
),
projects AS MATERIALIZED (
    SELECT names.project FROM names CROSS JOIN LATERAL (
        SELECT due_at_us FROM lanes AS lane
        WHERE lane.project = names.project AND lane.due_at_us <= $1
        ORDER BY lane.due_at_us LIMIT 1
    ) AS first
    ORDER BY first.due_at_us LIMIT $2
)
SELECT lane.project, lane.function_name, lane.per_second, lane.burst, lane.tokens,
    lane.tokens_at_us, lane.closed_until_us
FROM projects CROSS JOIN LATERAL (
    SELECT * FROM lanes AS one
    WHERE one.project = projects.project AND one.due_at_us <= $1
    ORDER BY one.due_at_us
    LIMIT (SELECT GREATEST(1, $2 / count(*)) FROM projects)
    FOR UPDATE SKIP LOCKED
) AS lane
