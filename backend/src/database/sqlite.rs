//! SQLite, embedded: one file, WAL.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use crate::config;

use super::{ACQUIRE_TIMEOUT, BUSY_TIMEOUT, is_transient, seal};

/// How long a tool waits for the write lock: backends take it again and again.
const PATIENCE: Duration = Duration::from_secs(60);

/// SQLite's two pools: many readers, few writers, since it lets one write at a time.
#[derive(Clone, Debug)]
pub struct Sqlite {
    /// For statements that only read.
    pub read: SqlitePool,
    /// For single writing statements and for transactions.
    pub write: SqlitePool,
}

impl Sqlite {
    pub(super) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// Opens the file, made if it isn't there, and brings its schema up to date.
pub(super) async fn open(config: &config::Database) -> anyhow::Result<Sqlite> {
    let options = options(config)?.create_if_missing(true);
    let file = options.get_filename().to_owned();
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_private(folder).with_context(|| format!("making {}", folder.display()))?;
    }

    let lock = migration_lock(&file).await?;
    let write = pool(config.writers)
        .connect_with(options.clone())
        .await
        .with_context(|| format!("opening {}", file.display()))?;
    seal::ensure_unset(&mut *write.acquire().await?).await?;
    sqlx::migrate!("migrations/sqlite").run(&write).await.context("bringing the schema up to date")?;
    drop(lock);

    let read = pool(config.readers).connect_with(options).await?;
    Ok(Sqlite { read, write })
}

/// How every connection is opened.
pub(super) fn options(config: &config::Database) -> anyhow::Result<SqliteConnectOptions> {
    let options = SqliteConnectOptions::from_str(&config.url)
        .with_context(|| format!("database.url `{}`", config.url))?
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match config.synchronous {
            config::Synchronous::Full => SqliteSynchronous::Full,
            config::Synchronous::Normal => SqliteSynchronous::Normal,
        })
        // Negative: KiB instead of pages.
        .pragma("cache_size", format!("-{}", config.page_cache_kib))
        .busy_timeout(BUSY_TIMEOUT);
    Ok(options)
}

/// A connection to a database that is there, as it is.
pub(super) async fn connect_to_existing(config: &config::Database) -> anyhow::Result<SqliteConnection> {
    anyhow::ensure!(config.is_sqlite(), "it is not SQLite");
    let options = options(config)?;
    let file = options.get_filename().to_owned();
    options.connect().await.with_context(|| format!("opening {}", file.display()))
}

/// Takes the write lock, however many others want it too.
pub(super) async fn begin_patiently(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        match sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await {
            Err(error) if is_transient(&error) && start.elapsed() < PATIENCE => {}
            outcome => return Ok(outcome.map(drop)?),
        }
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
    use crate::database::{Db, is_transient};

    fn settings(folder: &Path) -> config::Database {
        config::Database::at(&format!("sqlite:{}", folder.join("a.db").display()))
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
        let Sqlite { write, .. } = open(&settings).await.expect("opens");
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
}
