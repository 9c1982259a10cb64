-- What is configured. Times are microseconds since 1970; names and texts of lists are as the
-- domain writes them.
CREATE TABLE registry_revision (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    revision INTEGER NOT NULL,
    -- Deletions are known for revisions above this one.
    deletions_known_after INTEGER NOT NULL
);
INSERT INTO registry_revision VALUES (1, 0, 0);

CREATE TABLE projects (
    name TEXT PRIMARY KEY,
    created_at_us INTEGER NOT NULL,
    revision INTEGER NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    -- SHA-256 of the key; the key itself is kept nowhere.
    hash BLOB NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    note TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    revoked_at_us INTEGER,
    revision INTEGER NOT NULL
);
CREATE INDEX api_keys_project ON api_keys (project);
CREATE INDEX api_keys_revision ON api_keys (revision);

CREATE TABLE functions (
    project TEXT NOT NULL REFERENCES projects (name),
    package TEXT NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    format TEXT NOT NULL,
    -- Sealed with XChaCha20-Poly1305.
    secret BLOB NOT NULL,
    signing_secret BLOB NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (project, package, name)
);
CREATE INDEX functions_revision ON functions (revision);

CREATE TABLE triggers (
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    package TEXT NOT NULL,
    function TEXT NOT NULL,
    is_enabled BOOLEAN NOT NULL,
    -- A JSON array of type selectors; an empty one means every type.
    event_types TEXT NOT NULL,
    subject TEXT,
    prefix TEXT,
    suffix TEXT,
    format TEXT,
    -- A JSON object.
    retry TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (project, name),
    FOREIGN KEY (project, package, function) REFERENCES functions (project, package, name)
);
CREATE INDEX triggers_function ON triggers (project, package, function);
CREATE INDEX triggers_revision ON triggers (revision);

-- What no longer exists; what does carries its own revision.
CREATE TABLE deletions (
    revision INTEGER NOT NULL,
    kind TEXT NOT NULL,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (revision, kind, project, name)
) WITHOUT ROWID;
