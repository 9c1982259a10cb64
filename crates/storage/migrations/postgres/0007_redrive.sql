-- Orders to deliver again; owned by log-service.
CREATE TABLE logs.redrives (
    redrive_id UUID PRIMARY KEY,
    project TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    -- A JSON object: which deliveries, or which events.
    conditions TEXT NOT NULL,
    -- To which function, where it is not the one each delivery was for.
    to_function TEXT,
    per_second DOUBLE PRECISION,
    state TEXT NOT NULL,
    -- As counted when it was ordered.
    total BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    -- How many batches were planned; the last may not have been published.
    batch BIGINT NOT NULL,
    -- Everything up to this delivery or event is planned.
    done_to UUID,
    -- When the next one is due, by the pace.
    next_due_at_us BIGINT NOT NULL,
    reason TEXT,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    ended_at_us BIGINT,
    -- Which replica works on it, and until when no other may.
    holder TEXT NOT NULL,
    leased_to_us BIGINT NOT NULL
);
CREATE INDEX redrives_running ON logs.redrives (leased_to_us) WHERE state = 'running';
CREATE INDEX redrives_project ON logs.redrives (project, redrive_id);

-- What was ordered of which delivery: planned before it is published, so that a batch that is
-- published twice is the same twice, and no two orders raise one delivery to one generation.
CREATE TABLE logs.redriven (
    project TEXT COLLATE "C" NOT NULL,
    delivery_id UUID NOT NULL,
    generation BIGINT NOT NULL,
    redrive_id UUID NOT NULL,
    batch BIGINT NOT NULL,
    eid UUID NOT NULL,
    trigger_name TEXT NOT NULL,
    function_name TEXT NOT NULL,
    due_at_us BIGINT NOT NULL,
    PRIMARY KEY (project, delivery_id, generation)
);
CREATE INDEX redriven_batch ON logs.redriven (redrive_id, batch);
CREATE INDEX redriven_age ON logs.redriven (delivery_id);
