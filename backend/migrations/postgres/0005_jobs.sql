-- How far each job's schedule has been turned into runs.
CREATE TABLE jobs (
    name          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    planned_until BIGINT           NOT NULL
);

-- One run for each period of a job: the unique pair lets no second one in. A run that stopped, failed or lost its
-- backend goes on as the same row.
CREATE TABLE job_runs (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    job          TEXT COLLATE "C" NOT NULL,
    period       BIGINT           NOT NULL,
    -- When it was to begin.
    due_at       BIGINT           NOT NULL,
    status       TEXT COLLATE "C" NOT NULL
        CHECK (status IN ('waiting', 'running', 'done', 'failed', 'stopped', 'skipped')),
    -- From when on a backend may take it: when it is due, when it is to be tried again, or, while it is running, the
    -- end of the lease.
    claimable_at BIGINT           NOT NULL,
    -- Counts the claims. Whoever holds an older one than the row's writes nothing any more.
    epoch        BIGINT           NOT NULL,
    -- The process that holds the lease.
    owner        TEXT,
    -- Attempts in a row that committed no chunk.
    failures     BIGINT           NOT NULL,
    retried      BIGINT           NOT NULL,
    started_at   BIGINT,
    ended_at     BIGINT,
    error        TEXT,
    UNIQUE (job, period)
);

-- A job's runs come one after the other.
CREATE UNIQUE INDEX job_runs_running ON job_runs (job) WHERE status = 'running';
CREATE INDEX job_runs_open ON job_runs (job, period) WHERE status IN ('waiting', 'running');
CREATE INDEX job_runs_due ON job_runs (due_at, id);
CREATE INDEX job_runs_ended ON job_runs (job, status, ended_at);

-- How far each step of a run has come. The cursor is committed together with what the chunk before it wrote.
CREATE TABLE job_steps (
    run_id  TEXT COLLATE "C" NOT NULL REFERENCES job_runs (id) ON DELETE CASCADE,
    step    TEXT COLLATE "C" NOT NULL,
    cursor  TEXT,
    is_done BOOLEAN          NOT NULL,
    read    BIGINT           NOT NULL,
    written BIGINT           NOT NULL,
    skipped BIGINT           NOT NULL,
    PRIMARY KEY (run_id, step)
);

-- What a run left out, and why.
CREATE TABLE job_skips (
    run_id TEXT COLLATE "C" NOT NULL REFERENCES job_runs (id) ON DELETE CASCADE,
    step   TEXT COLLATE "C" NOT NULL,
    item   TEXT COLLATE "C" NOT NULL,
    reason TEXT             NOT NULL,
    PRIMARY KEY (run_id, step, item)
);

-- What is to happen once, at a time. The row goes in the transaction that does it; one that could not be done stays,
-- with its error and without a time.
CREATE TABLE timers (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind     TEXT COLLATE "C" NOT NULL,
    -- What it is about; setting it again moves it.
    subject  TEXT COLLATE "C" NOT NULL,
    due_at   BIGINT,
    payload  TEXT             NOT NULL,
    failures BIGINT           NOT NULL,
    error    TEXT,
    UNIQUE (kind, subject)
);

CREATE INDEX timers_due ON timers (kind, due_at) WHERE due_at IS NOT NULL;
