//! A copy of a SQLite database as it is at one moment, made while backends go on writing.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::config;

use super::sqlite;

/// Writes the database into a new file, for its owner only; its size. A file that is there stays as it is, and one that
/// turns out to be no good is removed.
pub(super) async fn backup(database: &config::Database, file: &Path) -> anyhow::Result<u64> {
    let mut source = sqlite::connect_to_existing(database).await?;
    let place = || format!("writing {}", file.display());
    // SQLite fills an empty file; made here it is nobody else's from its first byte on.
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let made = made.with_context(place)?;
    let written = async {
        let path = file.to_str().context("the path is not UTF-8")?;
        sqlx::query("VACUUM INTO $1").bind(path).execute(&mut source).await.with_context(place)?;
        made.sync_all().with_context(place)?;
        check(file).await?;
        Ok(std::fs::metadata(file)?.len())
    };
    let written = written.await;
    if written.is_err() {
        let _ = std::fs::remove_file(file);
    }
    written
}

/// Opens the copy as whoever restores it will, and has SQLite look through all of it.
async fn check(file: &Path) -> anyhow::Result<()> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut copy = options.connect().await.context("opening the copy")?;
    let faults: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut copy).await?;
    ensure!(faults == ["ok"], "the copy is damaged: {}", faults.join("; "));
    let orphans = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut copy).await?;
    ensure!(orphans.is_empty(), "the copy has {} rows that point to none", orphans.len());
    let migrations: i64 =
        sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&mut copy).await?;
    ensure!(migrations > 0, "the copy has no schema");
    copy.close().await.context("closing the copy")
}
