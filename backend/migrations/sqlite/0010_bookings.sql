-- What a booking keeps busy: itself and the buffers around it, on the resource that its service needs. Rows of a program
-- that doesn't know of this are filled in by a trigger.
ALTER TABLE reservations ADD COLUMN busy_from INTEGER CHECK (busy_from <= starts_at);
ALTER TABLE reservations ADD COLUMN busy_until INTEGER CHECK (busy_until >= ends_at);
ALTER TABLE reservations ADD COLUMN resource_id TEXT;
-- Until when a pending one keeps its place without a decision.
ALTER TABLE reservations ADD COLUMN hold_until INTEGER;
-- A place that is kept for somebody on the waitlist; nobody's booking yet.
ALTER TABLE reservations ADD COLUMN waitlist_id TEXT;

DROP TRIGGER reservations_capacity_on_insert;
DROP TRIGGER reservations_capacity_on_update;
DROP INDEX reservations_active;

UPDATE reservations SET busy_from = starts_at, busy_until = ends_at;

-- These two answer alone what the triggers below ask.
CREATE INDEX reservations_busy ON reservations (service_id, busy_from, busy_until, party_size, id, status)
    WHERE status IN ('pending', 'confirmed');
CREATE INDEX reservations_busy_resource ON reservations (resource_id, busy_from, busy_until, service_id, id, status)
    WHERE status IN ('pending', 'confirmed') AND resource_id IS NOT NULL;

CREATE INDEX reservations_vendor ON reservations (vendor_id, starts_at, id);
CREATE INDEX reservations_waitlist ON reservations (waitlist_id) WHERE waitlist_id IS NOT NULL;
CREATE INDEX reservations_holds ON reservations (service_id, hold_until) WHERE status = 'pending';
CREATE INDEX services_resource ON services (resource_id) WHERE resource_id IS NOT NULL;

-- The rule that nothing gets around: at no instant are more places busy than the service has, and never is one resource
-- busy for two services. Between two starts the number of busy places only falls, so it is enough to count at the new
-- booking's own start and at each start within it. Two bookings that only touch, or that each overlap another half of it,
-- never count together. A booking lasts a day at most and a buffer four hours: what is busy at an instant has been so
-- for 32 hours at most.
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
              AND taken.busy_from > instants.at - 115200000
              AND taken.busy_from <= instants.at
              AND taken.busy_until > instants.at
        ))
        FROM (
            SELECT coalesce(NEW.busy_from, NEW.starts_at) AS at
            UNION ALL
            SELECT later.busy_from
            FROM reservations AS later
            WHERE later.status IN ('pending', 'confirmed')
              AND later.service_id = NEW.service_id
              AND later.busy_from > coalesce(NEW.busy_from, NEW.starts_at)
              AND later.busy_from < coalesce(NEW.busy_until, NEW.ends_at)
        ) AS instants
    ) > coalesce((SELECT capacity FROM services WHERE id = NEW.service_id), 0);
    SELECT RAISE(ABORT, 'slot-taken')
    WHERE NEW.resource_id IS NOT NULL AND EXISTS (
        SELECT 1
        FROM reservations AS other
        WHERE other.status IN ('pending', 'confirmed')
          AND other.resource_id = NEW.resource_id
          AND other.service_id <> NEW.service_id
          AND other.busy_from > coalesce(NEW.busy_from, NEW.starts_at) - 115200000
          AND other.busy_from < coalesce(NEW.busy_until, NEW.ends_at)
          AND other.busy_until > coalesce(NEW.busy_from, NEW.starts_at)
    );
END;

CREATE TRIGGER reservations_busy_on_insert
AFTER INSERT ON reservations
WHEN NEW.busy_from IS NULL OR NEW.busy_until IS NULL
BEGIN
    UPDATE reservations SET busy_from = starts_at, busy_until = ends_at WHERE id = NEW.id;
END;

-- The same, without counting the row as it was. One that keeps its place as it is counts already.
CREATE TRIGGER reservations_capacity_on_update
BEFORE UPDATE OF service_id, resource_id, busy_from, busy_until, party_size, status ON reservations
WHEN NEW.status IN ('pending', 'confirmed') AND NOT (
    OLD.status IN ('pending', 'confirmed')
    AND NEW.service_id = OLD.service_id AND NEW.resource_id IS OLD.resource_id
    AND NEW.busy_from >= coalesce(OLD.busy_from, OLD.starts_at)
    AND NEW.busy_until <= coalesce(OLD.busy_until, OLD.ends_at)
    AND NEW.party_size <= OLD.party_size
)
BEGIN
    SELECT RAISE(ABORT, 'slot-taken')
    WHERE NEW.party_size + (
        SELECT max((
            SELECT coalesce(sum(taken.party_size), 0)
            FROM reservations AS taken
            WHERE taken.status IN ('pending', 'confirmed')
              AND taken.service_id = NEW.service_id
              AND taken.id <> OLD.id
              AND taken.busy_from > instants.at - 115200000
              AND taken.busy_from <= instants.at
              AND taken.busy_until > instants.at
        ))
        FROM (
            SELECT NEW.busy_from AS at
            UNION ALL
            SELECT later.busy_from
            FROM reservations AS later
            WHERE later.status IN ('pending', 'confirmed')
              AND later.service_id = NEW.service_id
              AND later.id <> OLD.id
              AND later.busy_from > NEW.busy_from
              AND later.busy_from < NEW.busy_until
        ) AS instants
    ) > coalesce((SELECT capacity FROM services WHERE id = NEW.service_id), 0);
    SELECT RAISE(ABORT, 'slot-taken')
    WHERE NEW.resource_id IS NOT NULL AND EXISTS (
        SELECT 1
        FROM reservations AS other
        WHERE other.status IN ('pending', 'confirmed')
          AND other.resource_id = NEW.resource_id
          AND other.service_id <> NEW.service_id
          AND other.id <> OLD.id
          AND other.busy_from > NEW.busy_from - 115200000
          AND other.busy_from < NEW.busy_until
          AND other.busy_until > NEW.busy_from
    );
END;

-- What is busy is never forgotten: a moved booking moves its busy time along.
CREATE TRIGGER reservations_busy_on_update
BEFORE UPDATE OF starts_at, ends_at, busy_from, busy_until ON reservations
WHEN NEW.busy_from IS NULL OR NEW.busy_until IS NULL
BEGIN
    SELECT RAISE(ABORT, 'a booking is busy for some time');
END;

-- A day's rows are counted by this alone; an offer is no booking.
DROP INDEX reservations_created;
CREATE INDEX reservations_created ON reservations (created_at, vendor_id) WHERE waitlist_id IS NULL;

-- Who waits for a place of a slot that is full, in the order in which they came.
CREATE TABLE waitlist (
    id            TEXT    NOT NULL PRIMARY KEY,
    service_id    TEXT    NOT NULL REFERENCES services (id),
    vendor_id     TEXT    NOT NULL REFERENCES vendors (id),
    user_id       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    starts_at     INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL,
    party_size    INTEGER NOT NULL CHECK (party_size >= 1),
    -- Until when a place is kept for them; none while they wait.
    offered_until INTEGER,
    created_at    INTEGER NOT NULL,
    UNIQUE (user_id, service_id, starts_at)
);

CREATE INDEX waitlist_waiting ON waitlist (service_id, starts_at, id) WHERE offered_until IS NULL;
CREATE INDEX waitlist_starts ON waitlist (starts_at, id);

-- Private calendars, by the hash of their secret.
CREATE TABLE calendar_feeds (
    user_id     TEXT    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret_hash TEXT    NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL
);
