-- While much is going on, what is owed is told with its event, and a delivery has a row of its own only
-- when something is known of it: mostly its first attempt succeeds a moment later, and one row less is
-- written twice. What has no row after a while is given one.
ALTER TABLE logs.events
    -- A JSON object: whom the event's deliveries are for, while not all of them have rows.
    ADD COLUMN owed TEXT;

-- Which deliveries to look for, one row for each batch that was stored.
CREATE TABLE logs.owed (
    owed_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    told_at_us BIGINT NOT NULL,
    project TEXT COLLATE "C" NOT NULL,
    -- As long as each other.
    eids UUID[] NOT NULL,
    deliveries UUID[] NOT NULL
)
WITH (autovacuum_vacuum_scale_factor = 0.02);
