-- Who can be booked. A vendor without an owner is looked after by admins.
CREATE TABLE vendors (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner_id   TEXT COLLATE "C" REFERENCES users (id) ON DELETE SET NULL,
    name       TEXT             NOT NULL,
    category   TEXT COLLATE "C" NOT NULL,
    summary    TEXT             NOT NULL,
    address    TEXT             NOT NULL,
    time_zone  TEXT             NOT NULL,
    created_at BIGINT           NOT NULL
);

CREATE INDEX vendors_owner ON vendors (owner_id);

-- What can be booked. A booking lasts a day at most: the search for what overlaps it relies on that. The least step
-- bounds how many slots a day can have.
CREATE TABLE services (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    vendor_id        TEXT COLLATE "C" NOT NULL REFERENCES vendors (id),
    name             TEXT             NOT NULL,
    duration_minutes BIGINT           NOT NULL CHECK (duration_minutes BETWEEN 1 AND 1440),
    step_minutes     BIGINT           NOT NULL CHECK (step_minutes BETWEEN 5 AND 1440),
    price            BIGINT           NOT NULL CHECK (price >= 0),
    capacity         BIGINT           NOT NULL CHECK (capacity >= 1)
);

CREATE INDEX services_vendor ON services (vendor_id);

-- The week of a vendor in its local time. weekday counts from Monday, 1; to_minute at or before from_minute means
-- the next day.
CREATE TABLE opening_hours (
    vendor_id   TEXT COLLATE "C" NOT NULL REFERENCES vendors (id) ON DELETE CASCADE,
    weekday     BIGINT           NOT NULL CHECK (weekday BETWEEN 1 AND 7),
    from_minute BIGINT           NOT NULL CHECK (from_minute BETWEEN 0 AND 1439),
    to_minute   BIGINT           NOT NULL CHECK (to_minute BETWEEN 0 AND 1439),
    PRIMARY KEY (vendor_id, weekday, from_minute)
);
