-- What waits outside the queues; owned by function-handler.
CREATE SCHEMA IF NOT EXISTS delivery;

CREATE TABLE delivery.waiting_room (
    delivery_id UUID PRIMARY KEY,
    project TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    function_name TEXT NOT NULL,
    generation BIGINT NOT NULL,
    next_attempt BIGINT NOT NULL,
    reason TEXT NOT NULL,
    since_us BIGINT NOT NULL,
    -- When it was put, as its handler said.
    due_at_us BIGINT NOT NULL,
    -- When somebody may take it: due_at_us, the end of the last claim, or earlier than due_at_us
    -- because what it waits for was deleted or switched off.
    free_at_us BIGINT NOT NULL,
    payload BYTEA NOT NULL
)
-- Rows come and go: leave room, and let the dead be cleared early.
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX waiting_room_free_at ON delivery.waiting_room (free_at_us);
-- To find what waits for something that was deleted; what is free already is passed over.
CREATE INDEX waiting_room_trigger ON delivery.waiting_room (project, trigger_name, free_at_us);
CREATE INDEX waiting_room_function ON delivery.waiting_room (project, function_name, free_at_us);
