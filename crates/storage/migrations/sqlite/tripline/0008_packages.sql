-- Packages with their versions, and schedules. Times are microseconds since 1970.

CREATE TABLE packages (
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    active_version INTEGER,
    latest_version INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE package_versions (
    project TEXT NOT NULL,
    package TEXT NOT NULL,
    version INTEGER NOT NULL,
    origin TEXT NOT NULL,
    -- The contract's message of what is in it.
    document BLOB NOT NULL,
    -- The file it was made of.
    source BLOB NOT NULL,
    created_at_us INTEGER NOT NULL,
    activated_at_us INTEGER,
    PRIMARY KEY (project, package, version),
    FOREIGN KEY (project, package) REFERENCES packages (project, name)
);

-- A schedule goes with its trigger, which has the same name.
CREATE TABLE schedules (
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The package whose version it belongs to.
    package TEXT,
    job TEXT NOT NULL,
    cron TEXT NOT NULL,
    dialect TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    -- none, parameters or text.
    payload_kind TEXT NOT NULL,
    payload BLOB NOT NULL,
    is_enabled BOOLEAN NOT NULL,
    -- NULL when it never strikes again.
    next_at_us INTEGER,
    last_at_us INTEGER,
    -- Until then a replica has it in hand.
    claimed_until_us INTEGER NOT NULL DEFAULT 0,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    PRIMARY KEY (project, name),
    FOREIGN KEY (project, name) REFERENCES triggers (project, name) ON DELETE CASCADE
);
CREATE INDEX schedules_due ON schedules (next_at_us)
    WHERE is_enabled AND next_at_us IS NOT NULL;
