//! Processes that are killed or paused in the middle of a run.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backend::database::Db;
use backend::{read, write};
use rand::Rng as _;

use crate::harness::{Stack, eventually};
use crate::jobs::tell;

/// The day that is counted, and its midnight in Seoul.
const DAY: &str = "2025-11-01";
const MIDNIGHT: i64 = 1_761_922_800_000;
const VENDORS: i64 = 20;

/// A number that the environment may set, for the full proof.
fn number(name: &str, default: i64) -> i64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A database with this many bookings on one day, and no backend but those that the test starts.
async fn bookings(rows: i64) -> Stack {
    let change = |config: &mut toml::Table| {
        config["jobs"]["lease_ms"] = 1500.into();
        config["jobs"]["poll_ms"] = 20.into();
    };
    let mut stack = Stack::with_config(1, change).await;
    stack.take_backend(0).stop().await;
    let guest = stack.user("guest", access_token::Role::User).await;
    let vendor = stack.open_vendor("vendor", "hair").await;
    let service = stack.service(&vendor, 1).await;
    let vendors = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1)
        INSERT INTO vendors (id, owner_id, name, category, summary, address, time_zone, created_at)
        SELECT 'v' || i, NULL, 'v' || i, 'hair', '', '', 'UTC', 0 FROM n";
    let reservations = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1)
        INSERT INTO reservations
            (id, service_id, vendor_id, user_id, starts_at, ends_at, party_size, status, created_at)
        SELECT 'r' || i, $2, 'v' || (i % $3), $4, 0, 1, 1, 'completed', $5 + CAST(i AS BIGINT) * 86400000 / $1 FROM n";
    write!(&stack.db, |pool| {
        sqlx::query(vendors).bind(VENDORS).execute(pool).await.expect("inserted");
        sqlx::query(reservations)
            .bind(rows)
            .bind(&service)
            .bind(VENDORS)
            .bind(&guest.id)
            .bind(MIDNIGHT)
            .execute(pool)
            .await
            .expect("inserted");
    });
    stack
}

/// A process that counts the day.
fn counting(stack: &Stack) -> Child {
    Command::new(env!("CARGO_BIN_EXE_backend"))
        .args(["jobs", "run", "daily-statistics", "--period", DAY, "--config"])
        .arg(stack.folder().join("config/backend.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started")
}

/// How far the run has come, in rows.
async fn progress(stack: &Stack) -> i64 {
    let sql = "SELECT CAST(coalesce(sum(read), 0) AS BIGINT) FROM job_steps WHERE step = 'reservations'";
    read!(&stack.db, |pool| sqlx::query_scalar(sql).fetch_one(pool).await).expect("read")
}

/// Fails unless every booking was counted, and none twice; how often the run was claimed.
async fn expect_counted(stack: &Stack, rows: i64) -> i64 {
    let sql = "SELECT vendor_id, reservations FROM daily_statistics ORDER BY vendor_id";
    let counted: Vec<(String, i64)> =
        read!(&stack.db, |pool| sqlx::query_as(sql).fetch_all(pool).await).expect("read");
    assert_eq!(counted[0], (String::new(), rows));
    assert_eq!(counted.len() as i64, VENDORS + 1);
    assert!(counted[1..].iter().all(|(_, count)| *count == rows / VENDORS), "{counted:?}");
    let sql = "SELECT epoch FROM job_runs WHERE status = 'done' AND job = 'daily-statistics'";
    read!(&stack.db, |pool| sqlx::query_scalar(sql).fetch_one(pool).await).expect("done")
}

async fn end_of(child: Child) -> (bool, String) {
    let wait = tokio::task::spawn_blocking(move || child.wait_with_output().expect("ended"));
    let output = wait.await.expect("waited");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `DAEMUN_JOBS_ROWS=200000 DAEMUN_JOBS_KILLS=10` for the full proof.
#[tokio::test]
async fn a_run_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice() {
    let (rows, kills) = (number("DAEMUN_JOBS_ROWS", 60_000), number("DAEMUN_JOBS_KILLS", 3));
    let stack = bookings(rows).await;
    for kill in 0..kills {
        let child = counting(&stack);
        let so_far = progress(&stack).await;
        let target = rand::rng().random_range(so_far..so_far + (rows - so_far) / (kills - kill + 1));
        let start = Instant::now();
        while progress(&stack).await <= target {
            assert!(start.elapsed() < Duration::from_secs(20), "the run never came to {target} rows");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Anywhere in a chunk.
        tokio::time::sleep(Duration::from_micros(rand::rng().random_range(0..3_000))).await;
        signal(&child, "KILL");
        end_of(child).await;
        tell(&format!("killed at {} of {rows} rows", progress(&stack).await));
    }
    let (is_done, said) = end_of(counting(&stack)).await;
    assert!(is_done, "{said}");
    let epoch = expect_counted(&stack, rows).await;
    assert_eq!(epoch, kills + 1, "each kill took the run from somebody");
}

#[tokio::test]
async fn a_paused_runner_that_wakes_after_the_takeover_writes_nothing() {
    let rows = 40_000;
    let stack = bookings(rows).await;
    let paused = counting(&stack);
    eventually("the run has begun", async || progress(&stack).await > 0).await;
    // A process that is paused inside a transaction keeps its locks, and nobody can take over.
    let start = Instant::now();
    loop {
        signal(&paused, "STOP");
        if is_outside_a_transaction(&stack.db).await {
            break;
        }
        signal(&paused, "CONT");
        assert!(start.elapsed() < Duration::from_secs(20), "it is always inside a transaction");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let stopped_at = progress(&stack).await;
    assert!(stopped_at < rows, "it was paused in the middle");
    let (is_done, said) = end_of(counting(&stack)).await;
    assert!(is_done, "{said}");
    assert_eq!(expect_counted(&stack, rows).await, 2);

    let mut watch = Watch::new(&stack.db).await;
    let before = watch.state().await;
    signal(&paused, "CONT");
    let (_, said) = end_of(paused).await;
    assert!(said.contains("the run was taken away"), "{said}");
    assert_eq!(watch.state().await, before, "it committed something");
    assert_eq!(expect_counted(&stack, rows).await, 2);
    tell(&format!("paused at {stopped_at} of {rows} rows, taken over, woken: no commit"));
}

/// Whether a paused process holds up nobody.
async fn is_outside_a_transaction(db: &Db) -> bool {
    const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'";
    match db {
        Db::Sqlite(_) => {
            let begun = tokio::time::timeout(Duration::from_millis(500), db.begin()).await;
            matches!(begun, Ok(Ok(_)))
        }
        Db::Postgres(pool) => {
            // What it had sent before it was paused is still worked off.
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(500) {
                let others: i64 = sqlx::query_scalar(OTHERS).fetch_one(pool).await.expect("read");
                if others == 0 {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            false
        }
    }
}

/// Sees each commit of others.
enum Watch {
    /// SQLite's own count of what other connections have committed to the whole file.
    Sqlite(sqlx::pool::PoolConnection<sqlx::Sqlite>),
    /// The transactions that wrote the rows as they stand.
    Postgres(sqlx::PgPool),
}

impl Watch {
    async fn new(db: &Db) -> Self {
        match db {
            Db::Sqlite(sqlite) => Self::Sqlite(sqlite.read.acquire().await.expect("a connection")),
            Db::Postgres(pool) => Self::Postgres(pool.clone()),
        }
    }

    async fn state(&mut self) -> String {
        const WRITERS: &str = "SELECT CAST(count(*) AS TEXT) || ' ' || string_agg(x, ' ' ORDER BY x) FROM (
            SELECT xmin::text AS x FROM job_runs UNION ALL SELECT xmin::text FROM job_steps
            UNION ALL SELECT xmin::text FROM daily_statistics) rows";
        match self {
            Self::Sqlite(connection) => {
                let sql = "SELECT CAST(data_version AS TEXT) FROM pragma_data_version";
                sqlx::query_scalar(sql).fetch_one(&mut **connection).await.expect("read")
            }
            Self::Postgres(pool) => sqlx::query_scalar(WRITERS).fetch_one(&*pool).await.expect("read"),
        }
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.expect("kill is installed").success());
}
