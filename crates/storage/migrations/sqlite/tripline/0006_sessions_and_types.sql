-- What ends function sessions before their time: those of a user (actor) or of a function that were
-- made up to a moment. A row is of no use once the last of them has expired.
CREATE TABLE session_revocations (
    project TEXT NOT NULL REFERENCES projects (name),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (project, kind, name)
);
CREATE INDEX session_revocations_revision ON session_revocations (revision);

-- Event types that projects have registered. A deleted one keeps its row, so that its number is never
-- given to another.
CREATE TABLE event_types (
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    -- JSON Schema of the data, as it was given; empty for none.
    schema TEXT NOT NULL,
    -- Who may emit it, between commas; empty where no rule is set.
    emitters TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    is_deleted BOOLEAN NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (project, name),
    CONSTRAINT event_types_number UNIQUE (project, number)
);
CREATE INDEX event_types_revision ON event_types (revision);
