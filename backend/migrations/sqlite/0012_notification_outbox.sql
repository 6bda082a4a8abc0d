-- What users are to be told, written in the transaction of what it tells of; a relay takes it from here.
CREATE TABLE notification_outbox (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    data          TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    -- Until when one backend has it to itself.
    claimed_until INTEGER NOT NULL DEFAULT 0
);
