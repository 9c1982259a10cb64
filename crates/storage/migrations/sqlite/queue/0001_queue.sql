-- The embedded broker's queues. Each has a number; the highest bits of a message's position are
-- its queue's number, so one table without a further index keeps every queue in its order.
CREATE TABLE queues (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- Highest position that was in somebody's hands; 0 after an orderly stop.
    handed_up_to INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE messages (
    position INTEGER PRIMARY KEY,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    -- How many times it was in hand when the process died.
    crashes INTEGER NOT NULL DEFAULT 0,
    -- Where a message that was set aside comes from, and why.
    origin TEXT,
    reason TEXT
);
