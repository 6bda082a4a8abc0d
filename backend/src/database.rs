//! The database: the one truth. SQLite, one file that both backends open.
//!
//! A store writes its SQL once, portable (`$1` parameters, i64 epoch milliseconds, text ids), and runs it with
//! [`read!`](crate::read), [`write!`](crate::write) or [`transaction!`](crate::transaction) on whichever native
//! driver is open.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::config;

/// How long a statement waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite's result codes that say that another writer was in the way: SQLITE_BUSY, _RECOVERY, _SNAPSHOT.
const BUSY_CODES: [&str; 3] = ["5", "261", "517"];

/// An open database. Cloning it is cheap; all clones share the pools.
#[derive(Clone, Debug)]
pub enum Db {
    /// Embedded, for one machine.
    Sqlite(Sqlite),
}

/// SQLite's two pools: many readers, few writers, since it lets one write at a time.
#[derive(Clone, Debug)]
pub struct Sqlite {
    /// For statements that only read.
    pub read: SqlitePool,
    /// For single writing statements and for transactions.
    pub write: SqlitePool,
}

/// Runs an expression that only reads, with `$pool` a pool of the open driver.
#[macro_export]
macro_rules! read {
    ($db:expr, |$pool:ident| $body:expr) => {
        match $db {
            $crate::database::Db::Sqlite(sqlite) => {
                let $pool = &sqlite.read;
                $body
            }
        }
    };
}

/// Runs an expression of one writing statement, with `$pool` a pool of the open driver.
#[macro_export]
macro_rules! write {
    ($db:expr, |$pool:ident| $body:expr) => {
        match $db {
            $crate::database::Db::Sqlite(sqlite) => {
                let $pool = &sqlite.write;
                $body
            }
        }
    };
}

/// Runs an expression in one transaction, with `$tx` the connection, and commits; its value is the expression's.
/// `?` inside leaves the enclosing function and rolls back.
///
/// The write lock is taken at once (`BEGIN IMMEDIATE`): a transaction that reads first and then writes would
/// otherwise fail with `SQLITE_BUSY_SNAPSHOT`, which no busy timeout heals.
#[macro_export]
macro_rules! transaction {
    ($db:expr, |$tx:ident| $body:expr) => {
        match $db {
            $crate::database::Db::Sqlite(sqlite) => {
                let mut transaction = sqlite.write.begin_with("BEGIN IMMEDIATE").await?;
                let value = {
                    let $tx = &mut *transaction;
                    $body
                };
                transaction.commit().await?;
                value
            }
        }
    };
}

/// Runs an expression in a [`Transaction`], with `$connection` its connection.
#[macro_export]
macro_rules! within {
    ($transaction:expr, |$connection:ident| $body:expr) => {
        match $transaction {
            $crate::database::Transaction::Sqlite(transaction) => {
                let $connection = &mut **transaction;
                $body
            }
        }
    };
}

/// A transaction that one room begins and commits, and others write in. Dropped, it is rolled back.
#[derive(Debug)]
pub enum Transaction {
    /// Holds SQLite's one write lock from its beginning.
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
}

impl Transaction {
    /// Makes it last.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
        }
    }
}

impl Db {
    /// Begins a transaction that others write in, with [`within!`](crate::within).
    pub async fn begin(&self) -> sqlx::Result<Transaction> {
        match self {
            Self::Sqlite(sqlite) => {
                Ok(Transaction::Sqlite(sqlite.write.begin_with("BEGIN IMMEDIATE").await?))
            }
        }
    }

    /// Opens the database and brings its schema up to date. Safe when both backends do so at once.
    pub async fn open(config: &config::Database) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::from_str(&config.url)
            .with_context(|| format!("database.url `{}`", config.url))?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match config.synchronous {
                config::Synchronous::Full => SqliteSynchronous::Full,
                config::Synchronous::Normal => SqliteSynchronous::Normal,
            })
            // Negative: KiB instead of pages.
            .pragma("cache_size", format!("-{}", config.page_cache_kib))
            .busy_timeout(BUSY_TIMEOUT);
        let file = options.get_filename().to_owned();
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make_private(folder).with_context(|| format!("making {}", folder.display()))?;
        }

        let lock = migration_lock(&file).await?;
        let write = pool(config.writers)
            .connect_with(options.clone())
            .await
            .with_context(|| format!("opening {}", file.display()))?;
        sqlx::migrate!("migrations/sqlite").run(&write).await.context("bringing the schema up to date")?;
        drop(lock);

        let read = pool(config.readers).connect_with(options).await?;
        Ok(Self::Sqlite(Sqlite { read, write }))
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        read!(self, |pool| sqlx::query("SELECT 1").execute(pool).await.map(drop))
    }

    /// Waits for what is running, and closes.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => {
                sqlite.read.close().await;
                sqlite.write.close().await;
            }
        }
    }
}

/// Whether the same may well succeed a moment later: others were in the way, or the process is about to stop.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| BUSY_CODES.contains(&&*code)),
        _ => false,
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
}

/// Makes a folder that is missing, for this user only: it holds what users said and booked.
fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// SQLite's migrator takes no lock of its own: two backends that start at once would both run a migration.
async fn migration_lock(database: &Path) -> anyhow::Result<std::fs::File> {
    let mut path = database.as_os_str().to_owned();
    path.push(".migrate-lock");
    tokio::task::spawn_blocking(move || {
        let file = std::fs::File::create(&path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    })
    .await?
    .with_context(|| format!("locking {} for its migrations", database.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> config::Database {
        config::Database {
            url: format!("sqlite:{}", folder.join("a.db").display()),
            synchronous: config::Synchronous::Full,
            readers: 2,
            writers: 2,
            page_cache_kib: 2048,
        }
    }

    #[tokio::test]
    async fn backends_that_start_at_once_migrate_one_after_the_other() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings(folder.path());
        let opened = futures_util::future::join_all((0..6).map(|_| Db::open(&settings))).await;
        for db in opened {
            db.expect("opens").ping().await.expect("answers");
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_made_for_the_database_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = folder.path().join("var");
        Db::open(&settings(&made)).await.expect("opens").close().await;
        let mode = std::fs::metadata(made).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_writer_who_finds_others_in_the_way_may_try_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings(folder.path());
        let Db::Sqlite(Sqlite { write, .. }) = Db::open(&settings).await.expect("opens");
        let options = SqliteConnectOptions::from_str(&settings.url).expect("an address");
        let impatient = SqlitePool::connect_with(options.busy_timeout(Duration::ZERO)).await.expect("opens");
        let insert = "INSERT INTO users (id, name, role, created_at) VALUES ($1, 'name', 'user', 0)";

        let mut stale = impatient.begin().await.expect("begun");
        sqlx::query("SELECT id FROM users").fetch_all(&mut *stale).await.expect("read");
        sqlx::query(insert).bind("1").execute(&write).await.expect("inserted");
        let snapshot = sqlx::query(insert).bind("2").execute(&mut *stale).await.expect_err("too late");
        stale.rollback().await.expect("rolled back");

        let writing = write.begin_with("BEGIN IMMEDIATE").await.expect("begun");
        let busy = sqlx::query(insert).bind("3").execute(&impatient).await.expect_err("locked");
        writing.rollback().await.expect("rolled back");

        let twice = sqlx::query(insert).bind("1").execute(&write).await.expect_err("it is there");
        for (error, code, expected) in
            [(snapshot, Some("517"), true), (busy, Some("5"), true), (twice, Some("1555"), false)]
        {
            let found = error.as_database_error().and_then(|error| error.code());
            assert_eq!((found.as_deref(), is_transient(&error)), (code, expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_transaction_that_fails_leaves_nothing_behind() {
        async fn insert_twice(db: &Db) -> sqlx::Result<()> {
            transaction!(db, |tx| {
                for _ in 0..2 {
                    sqlx::query("INSERT INTO users (id, name, role, created_at) VALUES ($1, $2, $3, $4)")
                        .bind("same")
                        .bind("name")
                        .bind("user")
                        .bind(0_i64)
                        .execute(&mut *tx)
                        .await?;
                }
            });
            Ok(())
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = Db::open(&settings(folder.path())).await.expect("opens");
        insert_twice(&db).await.expect_err("the second breaks the primary key");
        let count: i64 =
            read!(&db, |pool| sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await)
                .expect("counts");
        assert_eq!(count, 0);
    }
}
