-- What waits outside the queues.
CREATE TABLE waiting_room (
    delivery_id BLOB PRIMARY KEY,
    project TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    function_name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    next_attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    -- When it was put, as its handler said.
    due_at_us INTEGER NOT NULL,
    -- When somebody may take it: due_at_us, or the end of the last claim.
    free_at_us INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX waiting_room_free_at ON waiting_room (free_at_us);
