-- Packages with their versions, and schedules; owned by function-handler. Times are microseconds
-- since 1970.

CREATE TABLE functions.packages (
    project TEXT COLLATE "C" NOT NULL REFERENCES functions.projects (name),
    name TEXT COLLATE "C" NOT NULL,
    active_version BIGINT,
    latest_version BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE functions.package_versions (
    project TEXT COLLATE "C" NOT NULL,
    package TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    origin TEXT NOT NULL,
    -- The contract's message of what is in it.
    document BYTEA NOT NULL,
    -- The file it was made of.
    source BYTEA NOT NULL,
    created_at_us BIGINT NOT NULL,
    activated_at_us BIGINT,
    PRIMARY KEY (project, package, version),
    FOREIGN KEY (project, package) REFERENCES functions.packages (project, name)
);

-- A schedule goes with its trigger, which has the same name.
CREATE TABLE functions.schedules (
    project TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    -- The package whose version it belongs to.
    package TEXT COLLATE "C",
    job TEXT NOT NULL,
    cron TEXT NOT NULL,
    dialect TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    -- none, parameters or text.
    payload_kind TEXT NOT NULL,
    payload BYTEA NOT NULL,
    is_enabled BOOLEAN NOT NULL,
    -- NULL when it never strikes again.
    next_at_us BIGINT,
    last_at_us BIGINT,
    -- Until then a replica has it in hand.
    claimed_until_us BIGINT NOT NULL DEFAULT 0,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    PRIMARY KEY (project, name),
    FOREIGN KEY (project, name)
        REFERENCES functions.triggers (project, name) ON DELETE CASCADE
);
CREATE INDEX schedules_due ON functions.schedules (next_at_us)
    WHERE is_enabled AND next_at_us IS NOT NULL;
