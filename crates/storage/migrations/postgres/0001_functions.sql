-- What is configured; owned by function-handler. Times are microseconds since 1970; names and
-- texts of lists are as the domain writes them, and sort by their bytes.
CREATE SCHEMA IF NOT EXISTS functions;

CREATE TABLE functions.registry_revision (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    revision BIGINT NOT NULL,
    -- Deletions are known for revisions above this one.
    deletions_known_after BIGINT NOT NULL
);
INSERT INTO functions.registry_revision VALUES (1, 0, 0);

CREATE TABLE functions.projects (
    name TEXT COLLATE "C" PRIMARY KEY,
    created_at_us BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE functions.api_keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    project TEXT COLLATE "C" NOT NULL REFERENCES functions.projects (name),
    -- SHA-256 of the key; the key itself is kept nowhere.
    hash BYTEA NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    note TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    revoked_at_us BIGINT,
    revision BIGINT NOT NULL
);
CREATE INDEX api_keys_project ON functions.api_keys (project);
CREATE INDEX api_keys_revision ON functions.api_keys (revision);

CREATE TABLE functions.functions (
    project TEXT COLLATE "C" NOT NULL REFERENCES functions.projects (name),
    package TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    url TEXT NOT NULL,
    format TEXT NOT NULL,
    -- Sealed with XChaCha20-Poly1305.
    secret BYTEA NOT NULL,
    signing_secret BYTEA NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (project, package, name)
);
CREATE INDEX functions_revision ON functions.functions (revision);

CREATE TABLE functions.triggers (
    project TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    package TEXT COLLATE "C" NOT NULL,
    function TEXT COLLATE "C" NOT NULL,
    is_enabled BOOLEAN NOT NULL,
    -- A JSON array of type selectors; an empty one means every type.
    event_types TEXT NOT NULL,
    subject TEXT,
    prefix TEXT,
    suffix TEXT,
    format TEXT,
    -- A JSON object.
    retry TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (project, name),
    FOREIGN KEY (project, package, function)
        REFERENCES functions.functions (project, package, name)
);
CREATE INDEX triggers_function ON functions.triggers (project, package, function);
CREATE INDEX triggers_revision ON functions.triggers (revision);

-- What no longer exists; what does carries its own revision.
CREATE TABLE functions.deletions (
    revision BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    project TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (revision, kind, project, name)
);
