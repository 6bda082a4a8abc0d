-- Bookings. Those that are pending or confirmed are active: they take places. What holds that there are enough comes
-- with 0010.
CREATE TABLE reservations (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    service_id TEXT COLLATE "C" NOT NULL REFERENCES services (id),
    vendor_id  TEXT COLLATE "C" NOT NULL REFERENCES vendors (id),
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    starts_at  BIGINT           NOT NULL,
    ends_at    BIGINT           NOT NULL,
    party_size BIGINT           NOT NULL CHECK (party_size >= 1),
    note       TEXT,
    status     TEXT COLLATE "C" NOT NULL
        CHECK (status IN ('pending', 'confirmed', 'cancelled', 'rejected', 'completed', 'no-show')),
    created_at BIGINT           NOT NULL,
    -- A day at most: what overlaps an instant began within the day before it.
    CHECK (ends_at > starts_at AND ends_at - starts_at <= 86400000)
);

CREATE INDEX reservations_user ON reservations (user_id, starts_at, id);

CREATE INDEX reservations_active ON reservations (service_id, starts_at, ends_at, party_size, id, status)
    WHERE status IN ('pending', 'confirmed');
