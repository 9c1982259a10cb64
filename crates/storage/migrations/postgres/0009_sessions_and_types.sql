-- What ends function sessions before their time: those of a user (actor) or of a function that were
-- made up to a moment. A row is of no use once the last of them has expired.
CREATE TABLE functions.session_revocations (
    project TEXT COLLATE "C" NOT NULL REFERENCES functions.projects (name),
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    at_us BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (project, kind, name)
);
CREATE INDEX session_revocations_revision ON functions.session_revocations (revision);

-- Event types that projects have registered. A deleted one keeps its row, so that its number is never
-- given to another.
CREATE TABLE functions.event_types (
    project TEXT COLLATE "C" NOT NULL REFERENCES functions.projects (name),
    name TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    -- JSON Schema of the data, as it was given; empty for none.
    schema TEXT NOT NULL,
    -- Who may emit it, between commas; empty where no rule is set.
    emitters TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    is_deleted BOOLEAN NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (project, name),
    CONSTRAINT event_types_number UNIQUE (project, number)
);
CREATE INDEX event_types_revision ON functions.event_types (revision);
