//! What keeps a SQLite database that was moved from being written any more: a trigger for each way to write a table.

use anyhow::{Context as _, ensure};
use sqlx::{AssertSqlSafe, SqliteConnection};

/// How the triggers are called, and how what they say begins.
const NAME: &str = "moved";

/// What whoever writes is told.
const MESSAGE: &str = "moved: this database was copied to another one, and is not written any more";

const TRIGGERS: &str =
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'moved~_%' ESCAPE '~'";

/// Whether an error says that the database is sealed.
pub(super) fn is_said_by(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.message().starts_with(MESSAGE)
}

/// Whether the database is sealed.
pub(super) async fn is_set(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let sql = AssertSqlSafe(format!("SELECT EXISTS ({TRIGGERS})"));
    sqlx::query_scalar(sql).fetch_one(connection).await
}

/// Fails for a sealed database.
pub(super) async fn ensure_unset(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    ensure!(!is_set(connection).await?, "{MESSAGE}");
    Ok(())
}

/// Seals these tables, in the caller's transaction.
pub(super) async fn set(connection: &mut SqliteConnection, tables: &[&str]) -> anyhow::Result<()> {
    for table in tables {
        for event in ["INSERT", "UPDATE", "DELETE"] {
            let sql = format!(
                r#"CREATE TRIGGER "{NAME}_{table}_{event}" BEFORE {event} ON "{table}"
                BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"#
            );
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await.context("sealing the file")?;
        }
    }
    Ok(())
}

/// Takes the seal off.
pub(super) async fn remove(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let triggers: Vec<String> = sqlx::query_scalar(TRIGGERS).fetch_all(&mut *connection).await?;
    ensure!(!triggers.is_empty(), "the file is not sealed");
    for trigger in triggers {
        let sql = AssertSqlSafe(format!(r#"DROP TRIGGER "{trigger}""#));
        sqlx::query(sql).execute(&mut *connection).await?;
    }
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}
