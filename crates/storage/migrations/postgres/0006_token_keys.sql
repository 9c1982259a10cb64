-- What signs the tokens of requests: one row for each project, and one for the system's own key,
-- whose owner is empty. Sealed with XChaCha20-Poly1305.
CREATE TABLE functions.token_keys (
    owner TEXT COLLATE "C" PRIMARY KEY,
    sealed BYTEA NOT NULL,
    revision BIGINT NOT NULL
);
