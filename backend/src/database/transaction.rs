//! Transactions, on either driver.

use super::{Db, Dialect};

/// How PostgreSQL's begin, whatever the server's default is.
const BEGIN_POSTGRES: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Runs an expression in one transaction, with `$tx` the connection, and commits; its value is the expression's.
/// `?` inside leaves the enclosing function and rolls back.
///
/// SQLite's write lock is taken at once (`BEGIN IMMEDIATE`): a transaction that reads first and then writes would
/// otherwise fail with `SQLITE_BUSY_SNAPSHOT`, which no busy timeout heals.
#[macro_export]
macro_rules! transaction {
    ($db:expr, |$tx:ident| $body:expr) => {
        match $db.begin().await? {
            $crate::database::Transaction::Sqlite(mut transaction) => {
                let value = {
                    let $tx = &mut *transaction;
                    $body
                };
                transaction.commit().await?;
                value
            }
            $crate::database::Transaction::Postgres(mut transaction) => {
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
            $crate::database::Transaction::Postgres(transaction) => {
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
    /// One of many; sees at each statement what others have committed.
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Db {
    /// Begins a transaction that others write in, with [`within!`](crate::within).
    pub async fn begin(&self) -> sqlx::Result<Transaction> {
        Ok(match self {
            Self::Sqlite(sqlite) => Transaction::Sqlite(sqlite.write.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Transaction::Postgres(pool.begin_with(BEGIN_POSTGRES).await?),
        })
    }
}

impl Transaction {
    /// Makes it last.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }

    /// Whose SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Until its end, lets no other transaction go on that takes turns over the same matter. SQLite's do so always.
    pub async fn take_turns(&mut self, matter: &str) -> sqlx::Result<()> {
        const SQL: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(transaction) => {
                sqlx::query(SQL).bind(matter).execute(&mut **transaction).await.map(drop)
            }
        }
    }
}
