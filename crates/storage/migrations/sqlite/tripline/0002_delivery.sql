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
    -- When somebody may take it: due_at_us, the end of the last claim, or earlier than due_at_us
    -- because what it waits for was deleted or switched off.
    free_at_us INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX waiting_room_free_at ON waiting_room (free_at_us);
-- To find what waits for something that was deleted; what is free already is passed over.
CREATE INDEX waiting_room_trigger ON waiting_room (project, trigger_name, free_at_us);
CREATE INDEX waiting_room_function ON waiting_room (project, function_name, free_at_us);
