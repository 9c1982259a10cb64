-- Orders to deliver again.
CREATE TABLE redrives (
    redrive_id BLOB PRIMARY KEY,
    project TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- A JSON object: which deliveries, or which events.
    conditions TEXT NOT NULL,
    -- To which function, where it is not the one each delivery was for.
    to_function TEXT,
    per_second REAL,
    state TEXT NOT NULL,
    -- As counted when it was ordered.
    total INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    -- How many batches were planned; the last may not have been published.
    batch INTEGER NOT NULL,
    -- Everything up to this delivery or event is planned.
    done_to BLOB,
    -- When the next one is due, by the pace.
    next_due_at_us INTEGER NOT NULL,
    reason TEXT,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    ended_at_us INTEGER,
    -- Which replica works on it, and until when no other may.
    holder TEXT NOT NULL,
    leased_to_us INTEGER NOT NULL
);
CREATE INDEX redrives_running ON redrives (leased_to_us) WHERE state = 'running';
CREATE INDEX redrives_project ON redrives (project, redrive_id);

-- What was ordered of which delivery: planned before it is published, so that a batch that is
-- published twice is the same twice, and no two orders raise one delivery to one generation.
CREATE TABLE redriven (
    project TEXT NOT NULL,
    delivery_id BLOB NOT NULL,
    generation INTEGER NOT NULL,
    redrive_id BLOB NOT NULL,
    batch INTEGER NOT NULL,
    eid BLOB NOT NULL,
    trigger_name TEXT NOT NULL,
    function_name TEXT NOT NULL,
    due_at_us INTEGER NOT NULL,
    PRIMARY KEY (project, delivery_id, generation)
);
CREATE INDEX redriven_batch ON redriven (redrive_id, batch);
CREATE INDEX redriven_age ON redriven (delivery_id);
