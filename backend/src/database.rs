//! The database: the one truth. SQLite, one file that both backends open, or PostgreSQL, by its URL.
//!
//! A store writes its SQL once, portable (`$1` parameters, i64 epoch milliseconds, text ids), and runs it with
//! [`read!`](crate::read), [`write!`](crate::write) or [`transaction!`](crate::transaction) on whichever native
//! driver is open. Where one statement can't serve both, [`Dialect::pick`] chooses between two.
//!
//! SQLite lets one transaction write at a time, PostgreSQL many, each at READ COMMITTED: a statement sees what was
//! committed before it began, and an UPDATE looks again at a row that it had to wait for. So what must hold between two
//! statements is held by a constraint, by the row that the first one locks, or by [`Transaction::take_turns`].
//! PostgreSQL gives a transaction up at its first error: nothing goes on after one but in a savepoint.

use std::time::Duration;

use sqlx::PgPool;

use crate::config;

mod backup;
pub mod command;
mod copy;
mod error;
mod postgres;
mod seal;
mod sqlite;
mod transaction;

pub use error::{holds_unstorable_text, is_transient};
pub use sqlite::Sqlite;
pub use transaction::Transaction;

/// How long a statement waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open database. Cloning it is cheap; all clones share the pools.
#[derive(Clone, Debug)]
pub enum Db {
    /// Embedded, for one machine.
    Sqlite(Sqlite),
    /// A server's.
    Postgres(PgPool),
}

/// Whose SQL a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite's.
    Sqlite,
    /// PostgreSQL's.
    Postgres,
}

impl Dialect {
    /// The one of two that this database understands.
    pub fn pick<T>(self, sqlite: T, postgres: T) -> T {
        match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
        }
    }
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
            $crate::database::Db::Postgres($pool) => $body,
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
            $crate::database::Db::Postgres($pool) => $body,
        }
    };
}

impl Db {
    /// Opens the database and brings its schema up to date. Safe when several backends do so at once.
    pub async fn open(config: &config::Database) -> anyhow::Result<Self> {
        if config.is_sqlite() {
            sqlite::open(config).await.map(Self::Sqlite)
        } else {
            postgres::open(config).await.map(Self::Postgres)
        }
    }

    /// Whose SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        read!(self, |pool| sqlx::query("SELECT 1").execute(pool).await.map(drop))
    }

    /// Waits for what is running, and closes.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use test_database::TestDatabase;

    use super::*;
    use crate::{transaction, within};

    #[tokio::test]
    async fn backends_that_start_at_once_migrate_one_after_the_other() {
        let database = TestDatabase::create().await;
        let settings = config::Database::at(database.url());
        if database.is_postgres() {
            // It was made with a schema.
            let db = Db::open(&settings).await.expect("opens");
            let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
            crate::write!(&db, |pool| sqlx::raw_sql(empty).execute(pool).await.map(drop)).expect("emptied");
            db.close().await;
        }
        let opened = futures_util::future::join_all((0..6).map(|_| Db::open(&settings))).await;
        for db in opened {
            let db = db.expect("opens");
            let users: i64 =
                read!(&db, |pool| sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await)
                    .expect("there is a schema");
            assert_eq!(users, 0);
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
        let database = TestDatabase::create().await;
        let db = Db::open(&config::Database::at(database.url())).await.expect("opens");
        insert_twice(&db).await.expect_err("the second breaks the primary key");
        let count: i64 =
            read!(&db, |pool| sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool).await)
                .expect("counts");
        assert_eq!(count, 0);
    }

    #[tokio::test]
    async fn who_takes_turns_goes_on_when_the_one_before_has_ended() {
        let database = TestDatabase::create().await;
        let db = Db::open(&config::Database::at(database.url())).await.expect("opens");
        let turns = (0..4).map(async |_| -> sqlx::Result<()> {
            let mut transaction = db.begin().await?;
            transaction.take_turns("the count").await?;
            let sql = "SELECT count(*) FROM jobs";
            let count: i64 = within!(&mut transaction, |connection| {
                sqlx::query_scalar(sql).fetch_one(connection).await
            })?;
            within!(&mut transaction, |connection| {
                let insert = sqlx::query("INSERT INTO jobs (name, planned_until) VALUES ($1, 0)");
                insert.bind(count.to_string()).execute(connection).await.map(drop)
            })?;
            transaction.commit().await
        });
        for turn in futures_util::future::join_all(turns).await {
            turn.expect("each saw what the one before had written");
        }
    }
}
