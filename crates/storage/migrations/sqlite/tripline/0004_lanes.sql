-- The waiting room as the place of everything that waits: in lanes, in lines, paused or set aside.
ALTER TABLE projects ADD COLUMN is_paused BOOLEAN NOT NULL DEFAULT FALSE;

-- Deliveries of one trigger that share it go one after the other, by position.
ALTER TABLE waiting_room ADD COLUMN order_key TEXT;
ALTER TABLE waiting_room ADD COLUMN position INTEGER;
-- Why it was set aside.
ALTER TABLE waiting_room ADD COLUMN fault TEXT;
-- free_at_us has further meanings: below 0 it was called at that time without the sign, to be
-- judged whenever it is due; 9223372036854775806 waits behind another of its key;
-- 9223372036854775807 is set aside.
DROP INDEX waiting_room_free_at;
CREATE INDEX waiting_room_line ON waiting_room (project, trigger_name, order_key, position)
    WHERE order_key IS NOT NULL;
CREATE TABLE positions (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    last INTEGER NOT NULL
);
INSERT INTO positions VALUES (1, 0);

-- What waits for one function: when to look at it, and how much of it may go.
CREATE TABLE lanes (
    project TEXT NOT NULL,
    function_name TEXT NOT NULL,
    -- Never later than something in it may go; NULL when nothing waits. What was served and has
    -- more goes behind the others by it.
    due_at_us INTEGER,
    -- What its worker allows; NULL where nothing limits it.
    per_second REAL,
    burst INTEGER NOT NULL DEFAULT 1,
    tokens REAL NOT NULL DEFAULT 0,
    tokens_at_us INTEGER NOT NULL DEFAULT 0,
    closed_until_us INTEGER,
    allowance_at_us INTEGER,
    PRIMARY KEY (project, function_name)
);
CREATE INDEX lanes_due_at ON lanes (due_at_us) WHERE due_at_us IS NOT NULL;
CREATE INDEX lanes_of_project ON lanes (project, due_at_us) WHERE due_at_us IS NOT NULL;

INSERT INTO lanes (project, function_name, due_at_us)
SELECT project, function_name, min(free_at_us) FROM waiting_room
GROUP BY project, function_name;
