-- What a booking keeps busy: itself and the buffers around it, on the resource that its service needs. The trigger below
-- writes all three.
ALTER TABLE reservations ADD COLUMN busy_from BIGINT;
ALTER TABLE reservations ADD COLUMN busy_until BIGINT;
ALTER TABLE reservations ADD COLUMN resource_id TEXT COLLATE "C";
-- Until when a pending one keeps its place without a decision.
ALTER TABLE reservations ADD COLUMN hold_until BIGINT;
-- A place that is kept for somebody on the waitlist; nobody's booking yet.
ALTER TABLE reservations ADD COLUMN waitlist_id TEXT COLLATE "C";

DROP INDEX IF EXISTS reservations_active;

UPDATE reservations SET busy_from = starts_at, busy_until = ends_at;

ALTER TABLE reservations ALTER COLUMN busy_from SET NOT NULL;
ALTER TABLE reservations ALTER COLUMN busy_until SET NOT NULL;
ALTER TABLE reservations ADD CHECK (busy_from <= starts_at AND busy_until >= ends_at);

-- These two answer alone what the trigger below asks.
CREATE INDEX reservations_busy ON reservations (service_id, busy_from, busy_until, party_size, id, status)
    WHERE status IN ('pending', 'confirmed');
CREATE INDEX reservations_busy_resource ON reservations (resource_id, busy_from, busy_until, service_id, id, status)
    WHERE status IN ('pending', 'confirmed') AND resource_id IS NOT NULL;

CREATE INDEX reservations_vendor ON reservations (vendor_id, starts_at, id);
CREATE INDEX reservations_waitlist ON reservations (waitlist_id) WHERE waitlist_id IS NOT NULL;
CREATE INDEX reservations_holds ON reservations (service_id, hold_until) WHERE status = 'pending';
CREATE INDEX services_resource ON services (resource_id) WHERE resource_id IS NOT NULL;

-- Whether a booking of these measures fits beside all others, of which `own` is none. At no instant are more places busy
-- than the service has, and never is one resource busy for two services. Between two starts the number of busy places
-- only falls, so it is enough to count at the booking's own start and at each start within it. A booking lasts a day at
-- most and a buffer four hours: what is busy at an instant has been so for 32 hours at most.
CREATE FUNCTION reservation_fits(
    own TEXT, service TEXT, resource TEXT, busy_since BIGINT, busy_till BIGINT, party BIGINT, places BIGINT
) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT party + (
        SELECT max((
            SELECT coalesce(sum(taken.party_size), 0)
            FROM reservations AS taken
            WHERE taken.status IN ('pending', 'confirmed')
              AND taken.service_id = service
              AND taken.id <> own
              AND taken.busy_from > instants.instant - 115200000
              AND taken.busy_from <= instants.instant
              AND taken.busy_until > instants.instant
        ))
        FROM (
            SELECT busy_since AS instant
            UNION ALL
            SELECT later.busy_from
            FROM reservations AS later
            WHERE later.status IN ('pending', 'confirmed')
              AND later.service_id = service
              AND later.id <> own
              AND later.busy_from > busy_since
              AND later.busy_from < busy_till
        ) AS instants
    ) <= places
    AND (resource IS NULL OR NOT EXISTS (
        SELECT 1
        FROM reservations AS other
        WHERE other.status IN ('pending', 'confirmed')
          AND other.resource_id = resource
          AND other.service_id <> service
          AND other.id <> own
          AND other.busy_from > busy_since - 115200000
          AND other.busy_from < busy_till
          AND other.busy_until > busy_since
    ))
$$;

-- The rule that nothing gets around. Those who could be in each other's way, bookings of one resource or, without one, of
-- one service, come one after the other: each waits until the one before it is committed, and then counts it. Read
-- committed gives every query of the function its own view; a transaction that sees older data is turned away.
-- Whoever is too late as far as everybody can see is refused without waiting.
CREATE FUNCTION reservations_capacity() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    service RECORD;
    queue TEXT;
    fits BOOLEAN;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.starts_at = OLD.starts_at AND NEW.ends_at = OLD.ends_at
        AND NEW.service_id = OLD.service_id AND NEW.party_size <= OLD.party_size
        AND (NEW.status NOT IN ('pending', 'confirmed') OR OLD.status IN ('pending', 'confirmed'))
    THEN
        NEW.busy_from := OLD.busy_from;
        NEW.busy_until := OLD.busy_until;
        NEW.resource_id := OLD.resource_id;
        RETURN NEW;
    END IF;
    IF current_setting('transaction_isolation') = 'repeatable read' THEN
        RAISE EXCEPTION 'bookings are made under read committed or serializable';
    END IF;
    LOOP
        SELECT capacity, resource_id, buffer_minutes * 60000 AS buffer INTO service
        FROM services WHERE id = NEW.service_id;
        IF NOT FOUND THEN
            RAISE foreign_key_violation USING MESSAGE = 'there is no such service';
        END IF;
        NEW.busy_from := NEW.starts_at - service.buffer;
        NEW.busy_until := NEW.ends_at + service.buffer;
        NEW.resource_id := service.resource_id;
        IF NEW.status NOT IN ('pending', 'confirmed') THEN
            RETURN NEW;
        END IF;
        fits := reservation_fits(NEW.id, NEW.service_id, NEW.resource_id, NEW.busy_from, NEW.busy_until,
            NEW.party_size, service.capacity);
        EXIT WHEN NOT fits OR queue = coalesce(service.resource_id, NEW.service_id);
        queue := coalesce(service.resource_id, NEW.service_id);
        PERFORM pg_advisory_xact_lock(hashtextextended(queue, 0));
    END LOOP;
    IF NOT fits THEN
        RAISE exclusion_violation USING MESSAGE = 'slot-taken', CONSTRAINT = 'reservations_capacity';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER reservations_capacity
BEFORE INSERT OR UPDATE OF service_id, resource_id, starts_at, ends_at, busy_from, busy_until, party_size, status
ON reservations FOR EACH ROW EXECUTE FUNCTION reservations_capacity();

-- A service that changes what its bookings are held to stands in the same queue.
CREATE FUNCTION services_queue() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    before TEXT := coalesce(OLD.resource_id, OLD.id);
    after TEXT := coalesce(NEW.resource_id, NEW.id);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(least(before, after), 0));
    PERFORM pg_advisory_xact_lock(hashtextextended(greatest(before, after), 0));
    RETURN NEW;
END
$$;

CREATE TRIGGER services_queue
BEFORE UPDATE OF capacity, resource_id, buffer_minutes ON services FOR EACH ROW
WHEN ((OLD.capacity, OLD.resource_id, OLD.buffer_minutes)
    IS DISTINCT FROM (NEW.capacity, NEW.resource_id, NEW.buffer_minutes))
EXECUTE FUNCTION services_queue();

-- A day's rows are counted by this alone; an offer is no booking.
DROP INDEX reservations_created;
CREATE INDEX reservations_created ON reservations (created_at, vendor_id) WHERE waitlist_id IS NULL;

-- Who waits for a place of a slot that is full, in the order in which they came.
CREATE TABLE waitlist (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    service_id    TEXT COLLATE "C" NOT NULL REFERENCES services (id),
    vendor_id     TEXT COLLATE "C" NOT NULL REFERENCES vendors (id),
    user_id       TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    starts_at     BIGINT NOT NULL,
    ends_at       BIGINT NOT NULL,
    party_size    BIGINT NOT NULL CHECK (party_size >= 1),
    -- Until when a place is kept for them; none while they wait.
    offered_until BIGINT,
    created_at    BIGINT NOT NULL,
    UNIQUE (user_id, service_id, starts_at)
);

CREATE INDEX waitlist_waiting ON waitlist (service_id, starts_at, id) WHERE offered_until IS NULL;
CREATE INDEX waitlist_starts ON waitlist (starts_at, id);

-- Private calendars, by the hash of their secret.
CREATE TABLE calendar_feeds (
    user_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret_hash TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL
);
