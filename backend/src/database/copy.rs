//! Moves an installation from SQLite to PostgreSQL: every table, in one transaction on each side, compared before it
//! counts.
//!
//! SQLite's write lock is held from the first row to the seal, so that nothing is written that the copy lacks. The
//! target is committed first: should the program end between the two commits, the file is still whole and unsealed,
//! and the target isn't empty, so that a second attempt doesn't begin unnoticed.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::config;

use super::{Db, postgres, seal, sqlite};

mod digest;
mod rows;
mod tables;

use digest::Digest;
use tables::Table;

/// What was copied.
#[derive(Debug)]
pub(super) struct Report {
    tables: Vec<Copied>,
    is_sealed: bool,
}

#[derive(Debug)]
struct Copied {
    name: String,
    digest: Digest,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>12}  SHA-256 of both sides", "table", "rows")?;
        for Copied { name, digest } in &self.tables {
            writeln!(f, "{name:<24} {:>12}  {:.16}", digest.rows, digest.hex())?;
        }
        let rows: u64 = self.tables.iter().map(|table| table.digest.rows).sum();
        write!(f, "\ncopied {rows} rows of {} tables; both sides hold the same", self.tables.len())?;
        f.write_str(if self.is_sealed {
            "; the file is sealed"
        } else {
            "; the file is not sealed: what is written to it from now on is not in the copy"
        })
    }
}

/// Copies `from`, SQLite, to `to`, PostgreSQL, which is empty; brings both schemas up to date first.
pub(super) async fn copy(
    from: &config::Database,
    to: &config::Database,
    seals: bool,
) -> anyhow::Result<Report> {
    // It must be there: opening makes what is missing.
    let mut source = sqlite::connect_to_existing(from).await.context("the source")?;
    seal::ensure_unset(&mut source).await.context("the source")?;
    for database in [from, to] {
        Db::open(database).await?.close().await;
    }
    let mut target = postgres::connect(&postgres::options(to)?).await.context("the target")?;

    sqlite::begin_patiently(&mut source).await.context("the source's write lock")?;
    // Nobody can have sealed it from here on.
    seal::ensure_unset(&mut source).await.context("the source")?;
    let tables = tables::of_both(&mut source, &mut target).await?;
    let mut transaction = target.begin().await?;
    let copied = copy_all(&mut source, &mut transaction, &tables).await?;
    if seals {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        seal::set(&mut source, &names).await?;
    }
    transaction.commit().await.context("the target's commit")?;
    sqlx::query("COMMIT").execute(&mut source).await.context(
        "the target has all of it, but the source could not be sealed: empty the target and begin again",
    )?;
    // The planner knows nothing of what has come; if it isn't told now, it finds out in time.
    if let Err(error) = sqlx::query("ANALYZE").execute(&mut target).await {
        tracing::warn!(%error, "the copy was not analysed");
    }
    Ok(Report { tables: copied, is_sealed: seals })
}

async fn copy_all(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    tables: &[Table],
) -> anyhow::Result<Vec<Copied>> {
    for table in tables {
        claim(target, table).await.with_context(|| format!("table {}", table.name))?;
    }
    let mut sent = Vec::new();
    for table in tables {
        tracing::info!(table = table.name, "copying");
        let digest =
            rows::copy(source, target, table).await.with_context(|| format!("table {}", table.name))?;
        sent.push(digest);
    }
    let mut copied = Vec::new();
    for (table, sent) in tables.iter().zip(sent) {
        let found = rows::digest(target, table).await.with_context(|| format!("table {}", table.name))?;
        if sent != found {
            bail!(
                "table {}: {} rows were sent and {} found, or not the same ones; nothing was kept",
                table.name,
                sent.rows,
                found.rows
            );
        }
        let sql = format!("ALTER TABLE {} ENABLE TRIGGER USER", table.quoted());
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *target).await?;
        copied.push(Copied { name: table.name.clone(), digest: found });
    }
    Ok(copied)
}

/// Keeps others from writing to an empty table, and its triggers from adding to what is copied: what they would write
/// is copied as well, since every table is.
async fn claim(target: &mut PgConnection, table: &Table) -> anyhow::Result<()> {
    let name = table.quoted();
    for sql in [
        format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"),
        format!("ALTER TABLE {name} DISABLE TRIGGER USER"),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *target).await?;
    }
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {name})");
    let is_filled: bool = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(target).await?;
    ensure!(!is_filled, "the target is not empty");
    Ok(())
}
