-- Each sign-in, for the day's statistics; they take out what is old.
CREATE TABLE sign_ins (
    session_id   TEXT    NOT NULL PRIMARY KEY,
    user_id      TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    signed_in_at INTEGER NOT NULL
);

CREATE INDEX sign_ins_time ON sign_ins (signed_in_at);

-- When a booking was cancelled, whoever cancels it.
ALTER TABLE reservations ADD COLUMN cancelled_at INTEGER;

CREATE TRIGGER reservations_cancelled_at
AFTER UPDATE OF status ON reservations
WHEN NEW.status = 'cancelled' AND OLD.status <> 'cancelled'
BEGIN
    UPDATE reservations SET cancelled_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) WHERE id = NEW.id;
END;

-- A day's rows are counted by these alone.
CREATE INDEX reservations_created ON reservations (created_at, vendor_id);
CREATE INDEX reservations_cancelled ON reservations (cancelled_at, vendor_id) WHERE cancelled_at IS NOT NULL;
CREATE INDEX messages_sent ON messages (sent_at, room_id);

-- A day of each vendor that had one, and of the whole, whose vendor_id is ''.
CREATE TABLE daily_statistics (
    day           TEXT    NOT NULL,
    vendor_id     TEXT    NOT NULL,
    reservations  INTEGER NOT NULL DEFAULT 0,
    cancellations INTEGER NOT NULL DEFAULT 0,
    messages      INTEGER NOT NULL DEFAULT 0,
    sign_ins      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, vendor_id)
) WITHOUT ROWID;
