-- Each sign-in, for the day's statistics; they take out what is old.
CREATE TABLE sign_ins (
    session_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id      TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    signed_in_at BIGINT           NOT NULL
);

CREATE INDEX sign_ins_time ON sign_ins (signed_in_at);

-- When a booking was cancelled, whoever cancels it.
ALTER TABLE reservations ADD COLUMN cancelled_at BIGINT;

CREATE FUNCTION set_cancelled_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.cancelled_at := CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT);
    RETURN NEW;
END
$$;

CREATE TRIGGER reservations_cancelled_at
BEFORE UPDATE OF status ON reservations
FOR EACH ROW WHEN (NEW.status = 'cancelled' AND OLD.status <> 'cancelled')
EXECUTE FUNCTION set_cancelled_at();

-- A day's rows are counted by these alone.
CREATE INDEX reservations_created ON reservations (created_at, vendor_id);
CREATE INDEX reservations_cancelled ON reservations (cancelled_at, vendor_id) WHERE cancelled_at IS NOT NULL;
CREATE INDEX messages_sent ON messages (sent_at, room_id);

-- A day of each vendor that had one, and of the whole, whose vendor_id is ''.
CREATE TABLE daily_statistics (
    day           TEXT COLLATE "C" NOT NULL,
    vendor_id     TEXT COLLATE "C" NOT NULL,
    reservations  BIGINT           NOT NULL DEFAULT 0,
    cancellations BIGINT           NOT NULL DEFAULT 0,
    messages      BIGINT           NOT NULL DEFAULT 0,
    sign_ins      BIGINT           NOT NULL DEFAULT 0,
    PRIMARY KEY (day, vendor_id)
);
