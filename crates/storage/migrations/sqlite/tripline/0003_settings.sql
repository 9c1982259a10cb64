-- How functions and triggers want to be treated, beyond what has a column of its own. Protobuf,
-- as the registry's stream carries it; empty means all defaults.
ALTER TABLE functions ADD COLUMN settings BLOB NOT NULL DEFAULT X'';
-- Sealed with XChaCha20-Poly1305; empty where there are none.
ALTER TABLE functions ADD COLUMN credentials BLOB NOT NULL DEFAULT X'';
ALTER TABLE triggers ADD COLUMN settings BLOB NOT NULL DEFAULT X'';
