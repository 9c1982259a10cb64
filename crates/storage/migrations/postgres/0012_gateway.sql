-- Services behind the API gateway, and which of their calls fire events: a JSON array of
-- resource.verb.
CREATE TABLE functions.gateway_services (
    project TEXT COLLATE "C" NOT NULL REFERENCES functions.projects (name),
    name TEXT COLLATE "C" NOT NULL,
    base_url TEXT NOT NULL,
    access TEXT NOT NULL,
    description TEXT NOT NULL,
    operations TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);
CREATE INDEX gateway_services_revision ON functions.gateway_services (revision);
