-- How functions and triggers want to be treated, beyond what has a column of its own. Protobuf,
-- as the registry's stream carries it; empty means all defaults.
ALTER TABLE functions.functions ADD COLUMN settings BYTEA NOT NULL DEFAULT '';
-- Sealed with XChaCha20-Poly1305; empty where there are none.
ALTER TABLE functions.functions ADD COLUMN credentials BYTEA NOT NULL DEFAULT '';
ALTER TABLE functions.triggers ADD COLUMN settings BYTEA NOT NULL DEFAULT '';
