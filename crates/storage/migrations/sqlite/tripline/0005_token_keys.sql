-- What signs the tokens of requests: one row for each project, and one for the system's own key,
-- whose owner is empty. Sealed with XChaCha20-Poly1305.
CREATE TABLE token_keys (
    owner TEXT PRIMARY KEY,
    sealed BLOB NOT NULL,
    revision INTEGER NOT NULL
);
