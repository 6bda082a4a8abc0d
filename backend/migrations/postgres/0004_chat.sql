-- One room for each user and vendor. last_seq counts the room's messages without a gap.
CREATE TABLE rooms (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    vendor_id  TEXT COLLATE "C" NOT NULL REFERENCES vendors (id) ON DELETE CASCADE,
    last_seq   BIGINT           NOT NULL DEFAULT 0,
    created_at BIGINT           NOT NULL,
    UNIQUE (user_id, vendor_id)
);

CREATE INDEX rooms_vendor ON rooms (vendor_id);

-- client_id is the sender's own: a message that is sent again is the same message.
CREATE TABLE messages (
    room_id   TEXT COLLATE "C" NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq       BIGINT           NOT NULL,
    sender    TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id TEXT COLLATE "C" NOT NULL,
    body      TEXT             NOT NULL,
    sent_at   BIGINT           NOT NULL,
    PRIMARY KEY (room_id, seq),
    UNIQUE (room_id, sender, client_id)
);
