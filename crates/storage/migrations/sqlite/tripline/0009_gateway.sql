-- Services behind the API gateway, and which of their calls fire events: a JSON array of
-- resource.verb.
CREATE TABLE gateway_services (
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    base_url TEXT NOT NULL,
    access TEXT NOT NULL,
    description TEXT NOT NULL,
    operations TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (project, name)
);
CREATE INDEX gateway_services_revision ON gateway_services (revision);
