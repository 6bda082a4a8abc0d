-- Who uses the service. Ids are UUIDv7 text, moments are epoch milliseconds.
CREATE TABLE users (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT             NOT NULL,
    email      TEXT,
    picture    TEXT,
    role       TEXT             NOT NULL CHECK (role IN ('user', 'vendor', 'admin')),
    created_at BIGINT           NOT NULL
);

-- How providers know a user. Accounts are never linked by e-mail: only this pair names somebody.
CREATE TABLE identities (
    provider   TEXT COLLATE "C" NOT NULL,
    sub        TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT           NOT NULL,
    PRIMARY KEY (provider, sub)
);

CREATE INDEX identities_user ON identities (user_id);
