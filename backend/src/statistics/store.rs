//! Days in the database, and what they are counted from.

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::{read, within};

/// What a day has of one thing. The queries take: from after `$1`, up to `$2`.
pub(super) struct Source {
    /// The name of its step.
    pub(super) step: &'static str,
    /// `at`, at most the one at `$3` rows after the first; nothing is left when there is none.
    find_end: &'static str,
    /// Each vendor's id and count; the whole's own counts come with the id `''`.
    count: &'static str,
    /// Adds to a vendor's day.
    add: &'static str,
}

macro_rules! add_to {
    ($column:literal) => {
        concat!(
            "INSERT INTO daily_statistics (day, vendor_id, ",
            $column,
            ") VALUES ($1, $2, $3) ON CONFLICT (day, vendor_id) DO UPDATE SET ",
            $column,
            " = daily_statistics.",
            $column,
            " + excluded.",
            $column
        )
    };
}

/// All that is counted.
pub(super) const SOURCES: [Source; 4] = [
    Source {
        step: "reservations",
        find_end: "SELECT created_at FROM reservations
            WHERE created_at > $1 AND created_at <= $2 AND waitlist_id IS NULL
            ORDER BY created_at LIMIT 1 OFFSET $3",
        count: "SELECT vendor_id, count(*) FROM reservations
            WHERE created_at > $1 AND created_at <= $2 AND waitlist_id IS NULL
            GROUP BY vendor_id",
        add: add_to!("reservations"),
    },
    Source {
        step: "cancellations",
        find_end: "SELECT cancelled_at FROM reservations WHERE cancelled_at > $1 AND cancelled_at <= $2
            ORDER BY cancelled_at LIMIT 1 OFFSET $3",
        count: "SELECT vendor_id, count(*) FROM reservations WHERE cancelled_at > $1 AND cancelled_at <= $2
            GROUP BY vendor_id",
        add: add_to!("cancellations"),
    },
    Source {
        step: "messages",
        find_end: "SELECT sent_at FROM messages WHERE sent_at > $1 AND sent_at <= $2
            ORDER BY sent_at LIMIT 1 OFFSET $3",
        count: "SELECT r.vendor_id, count(*) FROM messages m JOIN rooms r ON r.id = m.room_id
            WHERE m.sent_at > $1 AND m.sent_at <= $2 GROUP BY r.vendor_id",
        add: add_to!("messages"),
    },
    Source {
        step: "sign-ins",
        find_end: "SELECT signed_in_at FROM sign_ins WHERE signed_in_at > $1 AND signed_in_at <= $2
            ORDER BY signed_in_at LIMIT 1 OFFSET $3",
        count: "SELECT '', count(*) FROM sign_ins WHERE signed_in_at > $1 AND signed_in_at <= $2",
        add: add_to!("sign_ins"),
    },
];

impl Source {
    /// Where a chunk of about `rows` rows ends; all rows of its last millisecond belong to it.
    pub(super) async fn find_end(
        &self,
        db: &Db,
        after: EpochMillis,
        until: EpochMillis,
        rows: i64,
    ) -> sqlx::Result<Option<EpochMillis>> {
        read!(db, |pool| {
            let find = sqlx::query_scalar(self.find_end).bind(after).bind(until).bind(rows - 1);
            find.fetch_optional(pool).await
        })
    }

    /// How many there were for each vendor.
    pub(super) async fn count(
        &self,
        db: &Db,
        after: EpochMillis,
        until: EpochMillis,
    ) -> sqlx::Result<Vec<(String, i64)>> {
        read!(db, |pool| sqlx::query_as(self.count).bind(after).bind(until).fetch_all(pool).await)
    }

    /// Adds to a vendor's day, or, with the id `''`, to that of the whole.
    pub(super) async fn add(
        &self,
        transaction: &mut Transaction,
        day: &str,
        vendor_id: &str,
        count: i64,
    ) -> sqlx::Result<()> {
        within!(transaction, |connection| {
            sqlx::query(self.add)
                .bind(day)
                .bind(vendor_id)
                .bind(count)
                .execute(connection)
                .await?
                .rows_affected()
        });
        Ok(())
    }
}

/// Begins a day: nothing has happened on it yet.
pub(super) async fn clear(transaction: &mut Transaction, day: &str) -> sqlx::Result<()> {
    const DELETE: &str = "DELETE FROM daily_statistics WHERE day = $1";
    const INSERT: &str = "INSERT INTO daily_statistics (day, vendor_id) VALUES ($1, '')";
    within!(transaction, |connection| {
        sqlx::query(DELETE).bind(day).execute(&mut *connection).await?;
        sqlx::query(INSERT).bind(day).execute(connection).await?.rows_affected()
    });
    Ok(())
}

/// Forgets at most `limit` sign-ins from before `before`; how many there were.
pub(super) async fn delete_sign_ins(
    transaction: &mut Transaction,
    before: EpochMillis,
    limit: i64,
) -> sqlx::Result<u64> {
    const SQL: &str = "DELETE FROM sign_ins WHERE session_id IN (
        SELECT session_id FROM sign_ins WHERE signed_in_at < $1 ORDER BY signed_in_at LIMIT $2)";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL).bind(before).bind(limit).execute(connection).await?.rows_affected()
    });
    Ok(done)
}
