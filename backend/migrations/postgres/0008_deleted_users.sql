-- A user who has left: nothing is known of them any more, and what must stay points here.
ALTER TABLE users ADD COLUMN deleted_at BIGINT;
