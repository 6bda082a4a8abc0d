-- What vendors say of themselves and of what can be booked.
ALTER TABLE vendors ADD COLUMN photos TEXT NOT NULL DEFAULT '[]';
-- Counts the edits of a vendor and of all that its page shows: what is cached of it names the version that it is of.
ALTER TABLE vendors ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- Who works for a vendor besides its owner.
CREATE TABLE vendor_staff (
    vendor_id TEXT COLLATE "C" NOT NULL REFERENCES vendors (id) ON DELETE CASCADE,
    user_id   TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (vendor_id, user_id)
);

CREATE INDEX vendor_staff_user ON vendor_staff (user_id);

-- A chair, a room, a person: services that need the same one exclude each other.
CREATE TABLE resources (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    vendor_id TEXT COLLATE "C" NOT NULL REFERENCES vendors (id),
    name      TEXT NOT NULL
);

CREATE INDEX resources_vendor ON resources (vendor_id);

-- Kept free before and after each booking.
ALTER TABLE services ADD COLUMN buffer_minutes BIGINT NOT NULL DEFAULT 0 CHECK (buffer_minutes BETWEEN 0 AND 240);
-- A booking is made this long before it begins, at the latest.
ALTER TABLE services ADD COLUMN lead_minutes BIGINT NOT NULL DEFAULT 0 CHECK (lead_minutes BETWEEN 0 AND 525600);
-- Local days from today to the last one that can be booked.
ALTER TABLE services ADD COLUMN max_days_ahead BIGINT NOT NULL DEFAULT 365 CHECK (max_days_ahead BETWEEN 0 AND 730);
-- A booking is cancelled or moved this long before it begins, at the latest.
ALTER TABLE services ADD COLUMN cancel_minutes BIGINT NOT NULL DEFAULT 0 CHECK (cancel_minutes BETWEEN 0 AND 525600);
ALTER TABLE services ADD COLUMN approval TEXT NOT NULL DEFAULT 'instant' CHECK (approval IN ('instant', 'manual'));
ALTER TABLE services ADD COLUMN resource_id TEXT COLLATE "C" REFERENCES resources (id);
-- One that isn't offered any more takes no new bookings; those that were made stay.
ALTER TABLE services ADD COLUMN is_active BOOLEAN NOT NULL DEFAULT TRUE;

-- Local days, YYYY-MM-DD, both included, that are unlike the week: closed, or, with openings (JSON as in a weekday of
-- the hours), open at other times.
CREATE TABLE closures (
    vendor_id TEXT COLLATE "C" NOT NULL REFERENCES vendors (id) ON DELETE CASCADE,
    from_day  TEXT COLLATE "C" NOT NULL,
    to_day    TEXT COLLATE "C" NOT NULL,
    reason    TEXT,
    openings  TEXT,
    PRIMARY KEY (vendor_id, from_day, to_day),
    CHECK (from_day <= to_day)
);
