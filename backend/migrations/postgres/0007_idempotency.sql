-- The answers to bookings that came with an Idempotency-Key, each stored in its booking's transaction: the same key
-- gets the same answer again.
CREATE TABLE idempotency_keys (
    user_id      TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key          TEXT COLLATE "C" NOT NULL,
    -- SHA-256 of what was asked for: another question under the same key is a mistake of the client.
    request_hash TEXT             NOT NULL,
    answer       TEXT             NOT NULL,
    created_at   BIGINT           NOT NULL,
    PRIMARY KEY (user_id, key)
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
