-- Who uses the service. Ids are UUIDv7 text, moments are epoch milliseconds.
CREATE TABLE users (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    email      TEXT,
    picture    TEXT,
    role       TEXT    NOT NULL CHECK (role IN ('user', 'vendor', 'admin')),
    created_at INTEGER NOT NULL
);

-- How providers know a user. Accounts are never linked by e-mail: only this pair names somebody.
CREATE TABLE identities (
    provider   TEXT    NOT NULL,
    sub        TEXT    NOT NULL,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (provider, sub)
);

CREATE INDEX identities_user ON identities (user_id);
