-- Bookings. Those that are pending or confirmed are active: they take places.
CREATE TABLE reservations (
    id         TEXT    NOT NULL PRIMARY KEY,
    service_id TEXT    NOT NULL REFERENCES services (id),
    vendor_id  TEXT    NOT NULL REFERENCES vendors (id),
    user_id    TEXT    NOT NULL REFERENCES users (id),
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    party_size INTEGER NOT NULL CHECK (party_size >= 1),
    note       TEXT,
    status     TEXT    NOT NULL
        CHECK (status IN ('pending', 'confirmed', 'cancelled', 'rejected', 'completed', 'no-show')),
    created_at INTEGER NOT NULL,
    -- A day at most: what overlaps an instant began within the day before it.
    CHECK (ends_at > starts_at AND ends_at - starts_at <= 86400000)
);

CREATE INDEX reservations_user ON reservations (user_id, starts_at, id);

-- Answers alone what the triggers below ask.
CREATE INDEX reservations_active ON reservations (service_id, starts_at, ends_at, party_size, id, status)
    WHERE status IN ('pending', 'confirmed');

-- The rule that nothing gets around: at no instant are more places taken than the service has. Between two starts
-- the number of taken places only falls, so it is enough to count at the new booking's own start and at each start
-- within it. Two bookings that only touch, or that each overlap another half of it, never count together.
CREATE TRIGGER reservations_capacity_on_insert
BEFORE INSERT ON reservations
WHEN NEW.status IN ('pending', 'confirmed')
BEGIN
    SELECT RAISE(ABORT, 'slot-taken')
    WHERE NEW.party_size + (
        SELECT max((
            SELECT coalesce(sum(taken.party_size), 0)
            FROM reservations AS taken
            WHERE taken.status IN ('pending', 'confirmed')
              AND taken.service_id = NEW.service_id
              AND taken.starts_at > instants.at - 86400000
              AND taken.starts_at <= instants.at
              AND taken.ends_at > instants.at
        ))
        FROM (
            SELECT NEW.starts_at AS at
            UNION ALL
            SELECT later.starts_at
            FROM reservations AS later
            WHERE later.status IN ('pending', 'confirmed')
              AND later.service_id = NEW.service_id
              AND later.starts_at > NEW.starts_at
              AND later.starts_at < NEW.ends_at
        ) AS instants
    ) > coalesce((SELECT capacity FROM services WHERE id = NEW.service_id), 0);
END;

-- The same, without counting the row as it was.
CREATE TRIGGER reservations_capacity_on_update
BEFORE UPDATE OF service_id, starts_at, ends_at, party_size, status ON reservations
WHEN NEW.status IN ('pending', 'confirmed')
BEGIN
    SELECT RAISE(ABORT, 'slot-taken')
    WHERE NEW.party_size + (
        SELECT max((
            SELECT coalesce(sum(taken.party_size), 0)
            FROM reservations AS taken
            WHERE taken.status IN ('pending', 'confirmed')
              AND taken.service_id = NEW.service_id
              AND taken.id <> OLD.id
              AND taken.starts_at > instants.at - 86400000
              AND taken.starts_at <= instants.at
              AND taken.ends_at > instants.at
        ))
        FROM (
            SELECT NEW.starts_at AS at
            UNION ALL
            SELECT later.starts_at
            FROM reservations AS later
            WHERE later.status IN ('pending', 'confirmed')
              AND later.service_id = NEW.service_id
              AND later.id <> OLD.id
              AND later.starts_at > NEW.starts_at
              AND later.starts_at < NEW.ends_at
        ) AS instants
    ) > coalesce((SELECT capacity FROM services WHERE id = NEW.service_id), 0);
END;
