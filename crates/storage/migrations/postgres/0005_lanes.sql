-- The waiting room as the place of everything that waits: in lanes, in lines, paused or set aside.
ALTER TABLE functions.projects ADD COLUMN is_paused BOOLEAN NOT NULL DEFAULT FALSE;

ALTER TABLE delivery.waiting_room
    -- Deliveries of one trigger that share it go one after the other, by position.
    ADD COLUMN order_key TEXT,
    ADD COLUMN position BIGINT,
    -- Why it was set aside.
    ADD COLUMN fault TEXT;
-- free_at_us has further meanings: below 0 it was called at that time without the sign, to be
-- judged whenever it is due; 9223372036854775806 waits behind another of its key;
-- 9223372036854775807 is set aside.
DROP INDEX delivery.waiting_room_free_at;
CREATE INDEX waiting_room_line ON delivery.waiting_room (project, trigger_name, order_key, position)
    WHERE order_key IS NOT NULL;
CREATE SEQUENCE delivery.positions;

-- What waits for one function: when to look at it, and how much of it may go.
CREATE TABLE delivery.lanes (
    project TEXT NOT NULL,
    function_name TEXT NOT NULL,
    -- Never later than something in it may go; NULL when nothing waits. What was served and has
    -- more goes behind the others by it.
    due_at_us BIGINT,
    -- What its worker allows; NULL where nothing limits it.
    per_second DOUBLE PRECISION,
    burst BIGINT NOT NULL DEFAULT 1,
    tokens DOUBLE PRECISION NOT NULL DEFAULT 0,
    tokens_at_us BIGINT NOT NULL DEFAULT 0,
    closed_until_us BIGINT,
    allowance_at_us BIGINT,
    PRIMARY KEY (project, function_name)
)
-- Every turn rewrites a row, so leave room and clear early.
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lanes_due_at ON delivery.lanes (due_at_us) WHERE due_at_us IS NOT NULL;
CREATE INDEX lanes_of_project ON delivery.lanes (project, due_at_us) WHERE due_at_us IS NOT NULL;

INSERT INTO delivery.lanes (project, function_name, due_at_us)
SELECT project, function_name, min(free_at_us) FROM delivery.waiting_room
GROUP BY project, function_name;
