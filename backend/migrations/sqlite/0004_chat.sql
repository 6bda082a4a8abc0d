-- One room for each user and vendor. last_seq counts the room's messages without a gap.
CREATE TABLE rooms (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    vendor_id  TEXT    NOT NULL REFERENCES vendors (id) ON DELETE CASCADE,
    last_seq   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    UNIQUE (user_id, vendor_id)
);

CREATE INDEX rooms_vendor ON rooms (vendor_id);

-- client_id is the sender's own: a message that is sent again is the same message.
CREATE TABLE messages (
    room_id   TEXT    NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq       INTEGER NOT NULL,
    sender    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id TEXT    NOT NULL,
    body      TEXT    NOT NULL,
    sent_at   INTEGER NOT NULL,
    PRIMARY KEY (room_id, seq),
    UNIQUE (room_id, sender, client_id)
);
