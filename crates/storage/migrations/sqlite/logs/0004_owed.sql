-- While much is going on, what is owed is told with its event, and a delivery has a row of its own only
-- when something is known of it: mostly its first attempt succeeds a moment later, and one row less is
-- written twice. What has no row after a while is given one.

-- A JSON object: whom the event's deliveries are for, while not all of them have rows.
ALTER TABLE events ADD COLUMN owed TEXT;

-- Which deliveries to look for, one row for each batch that was stored.
CREATE TABLE owed (
    owed_id INTEGER PRIMARY KEY,
    told_at_us INTEGER NOT NULL,
    project TEXT NOT NULL,
    -- Ids of 16 bytes, one behind the other; as many as of deliveries.
    eids BLOB NOT NULL,
    deliveries BLOB NOT NULL
);
