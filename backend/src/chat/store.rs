//! Rooms and messages in the database.

use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::database::{Db, Dialect};
use crate::{read, transaction, write};

use super::model::{Members, Message, Room};

#[derive(sqlx::FromRow)]
struct RoomRow {
    id: String,
    user_id: String,
    vendor_id: String,
    vendor_name: String,
    last_seq: i64,
    created_at: EpochMillis,
    // The newest message; all there or none.
    sender: Option<String>,
    client_id: Option<String>,
    body: Option<String>,
    sent_at: Option<EpochMillis>,
}

impl From<RoomRow> for Room {
    fn from(row: RoomRow) -> Self {
        let last_message = match (row.sender, row.client_id, row.body, row.sent_at) {
            (Some(sender), Some(client_id), Some(body), Some(sent_at)) => {
                Some(Message { room: row.id.clone(), seq: row.last_seq, sender, body, sent_at, client_id })
            }
            _ => None,
        };
        Self {
            id: row.id,
            user_id: row.user_id,
            vendor_id: row.vendor_id,
            vendor_name: row.vendor_name,
            last_seq: row.last_seq,
            last_message,
            created_at: row.created_at,
        }
    }
}

const FIND_ROOM: &str =
    "SELECT r.id, r.user_id, r.vendor_id, v.name AS vendor_name, r.last_seq, r.created_at,
        m.sender, m.client_id, m.body, m.sent_at
    FROM rooms r JOIN vendors v ON v.id = r.vendor_id
    LEFT JOIN messages m ON m.room_id = r.id AND m.seq = r.last_seq
    WHERE r.user_id = $1 AND r.vendor_id = $2";

/// Newest rooms first, from below the cursor `$2`.
const FIND_ROOMS: &str =
    "SELECT r.id, r.user_id, r.vendor_id, v.name AS vendor_name, r.last_seq, r.created_at,
        m.sender, m.client_id, m.body, m.sent_at
    FROM (
        SELECT id FROM rooms WHERE user_id = $1
        UNION
        SELECT r.id FROM rooms r JOIN vendors v ON v.id = r.vendor_id WHERE v.owner_id = $1
    ) own
    JOIN rooms r ON r.id = own.id JOIN vendors v ON v.id = r.vendor_id
    LEFT JOIN messages m ON m.room_id = r.id AND m.seq = r.last_seq
    WHERE r.id < $2 ORDER BY r.id DESC LIMIT $3";

/// The rooms in which something happened last come first: where there are too many, those matter.
const FIND_LAST_SEQS: &str = "SELECT r.id, r.last_seq
    FROM (
        SELECT id FROM rooms WHERE user_id = $1
        UNION
        SELECT r.id FROM rooms r JOIN vendors v ON v.id = r.vendor_id WHERE v.owner_id = $1
    ) own
    JOIN rooms r ON r.id = own.id
    LEFT JOIN messages m ON m.room_id = r.id AND m.seq = r.last_seq
    ORDER BY COALESCE(m.sent_at, r.created_at) DESC, r.id DESC LIMIT $2";

const FIND_MEMBERS: &str = "SELECT r.user_id, v.owner_id FROM rooms r JOIN vendors v ON v.id = r.vendor_id
    WHERE r.id = $1";

const INSERT_ROOM: &str = "INSERT INTO rooms (id, user_id, vendor_id, last_seq, created_at)
    VALUES ($1, $2, $3, 0, $4) ON CONFLICT (user_id, vendor_id) DO NOTHING";

const INSERT_MESSAGE: &str = "INSERT INTO messages (room_id, seq, sender, client_id, body, sent_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

const FIND_SENT: &str = "SELECT room_id, seq, sender, body, sent_at, client_id FROM messages
    WHERE room_id = $1 AND sender = $2 AND client_id = $3";

const LOCK_ROOM: &str = "SELECT id FROM rooms WHERE id = $1 FOR UPDATE";

const FIND_AFTER: &str = "SELECT room_id, seq, sender, body, sent_at, client_id FROM messages
    WHERE room_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

const FIND_BEFORE: &str = "SELECT room_id, seq, sender, body, sent_at, client_id FROM messages
    WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";

/// Who owns a vendor: none when there is no such vendor, `Some(None)` when nobody does.
pub(super) async fn find_vendor_owner(db: &Db, vendor_id: &str) -> sqlx::Result<Option<Option<String>>> {
    let sql = "SELECT owner_id FROM vendors WHERE id = $1";
    read!(db, |pool| sqlx::query_scalar(sql).bind(vendor_id).fetch_optional(pool).await)
}

pub(super) async fn find_room(db: &Db, user_id: &str, vendor_id: &str) -> sqlx::Result<Option<Room>> {
    let row: Option<RoomRow> = read!(db, |pool| {
        sqlx::query_as(FIND_ROOM).bind(user_id).bind(vendor_id).fetch_optional(pool).await
    })?;
    Ok(row.map(Room::from))
}

/// Whether the room is new.
pub(super) async fn insert_room(db: &Db, user_id: &str, vendor_id: &str) -> sqlx::Result<bool> {
    let rows = write!(db, |pool| {
        sqlx::query(INSERT_ROOM)
            .bind(Uuid::now_v7().to_string())
            .bind(user_id)
            .bind(vendor_id)
            .bind(EpochMillis::now())
            .execute(pool)
            .await?
            .rows_affected()
    });
    Ok(rows == 1)
}

/// A user's rooms, on either side, newest first, from below the room `before`.
pub(super) async fn find_rooms(db: &Db, user_id: &str, before: &str, limit: i64) -> sqlx::Result<Vec<Room>> {
    let rows: Vec<RoomRow> = read!(db, |pool| {
        sqlx::query_as(FIND_ROOMS).bind(user_id).bind(before).bind(limit).fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(Room::from).collect())
}

/// The newest numbers in a user's rooms, the liveliest first.
pub(super) async fn find_last_seqs(db: &Db, user_id: &str, limit: i64) -> sqlx::Result<Vec<(String, i64)>> {
    read!(db, |pool| sqlx::query_as(FIND_LAST_SEQS).bind(user_id).bind(limit).fetch_all(pool).await)
}

pub(super) async fn find_members(db: &Db, room: &str) -> sqlx::Result<Option<Members>> {
    read!(db, |pool| sqlx::query_as(FIND_MEMBERS).bind(room).fetch_optional(pool).await)
}

/// Messages after a number, in order.
pub(super) async fn find_after(db: &Db, room: &str, seq: i64, limit: i64) -> sqlx::Result<Vec<Message>> {
    read!(db, |pool| sqlx::query_as(FIND_AFTER).bind(room).bind(seq).bind(limit).fetch_all(pool).await)
}

/// The newest messages before a number, in order.
pub(super) async fn find_before(db: &Db, room: &str, seq: i64, limit: i64) -> sqlx::Result<Vec<Message>> {
    let mut messages: Vec<Message> = read!(db, |pool| {
        sqlx::query_as(FIND_BEFORE).bind(room).bind(seq).bind(limit).fetch_all(pool).await
    })?;
    messages.reverse();
    Ok(messages)
}

/// A message as its sender means it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) room: String,
    pub(super) sender: String,
    pub(super) client_id: String,
    pub(super) body: String,
}

/// Stores a message under the room's next number; the flag says whether it is new. The number is taken in the
/// transaction that stores, so that none is ever left out. A draft that was stored before stays as it was.
pub(super) async fn insert_message(db: &Db, draft: &Draft) -> sqlx::Result<(Message, bool)> {
    transaction!(db, |tx| {
        if db.dialect() == Dialect::Postgres {
            // From here on the room is this transaction's: whoever sends the same draft at once finds it stored.
            sqlx::query(LOCK_ROOM).bind(&draft.room).execute(&mut *tx).await?;
        }
        let sent: Option<Message> = sqlx::query_as(FIND_SENT)
            .bind(&draft.room)
            .bind(&draft.sender)
            .bind(&draft.client_id)
            .fetch_optional(&mut *tx)
            .await?;
        match sent {
            Some(message) => Ok((message, false)),
            None => {
                let seq: i64 = sqlx::query_scalar(
                    "UPDATE rooms SET last_seq = last_seq + 1 WHERE id = $1 RETURNING last_seq",
                )
                .bind(&draft.room)
                .fetch_one(&mut *tx)
                .await?;
                let sent_at = EpochMillis::now();
                sqlx::query(INSERT_MESSAGE)
                    .bind(&draft.room)
                    .bind(seq)
                    .bind(&draft.sender)
                    .bind(&draft.client_id)
                    .bind(&draft.body)
                    .bind(sent_at)
                    .execute(&mut *tx)
                    .await?;
                let Draft { room, sender, client_id, body } = draft.clone();
                Ok((Message { room, seq, sender, body, sent_at, client_id }, true))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use test_database::TestDatabase;

    use super::*;
    use crate::config;

    #[tokio::test]
    async fn where_rooms_are_too_many_the_liveliest_count() {
        let database = TestDatabase::create().await;
        let db = Db::open(&config::Database::at(database.url())).await.expect("opens");
        // Rooms 1, 2, 3 were opened in this order; in the first something is said at last.
        crate::write!(&db, |pool| sqlx::raw_sql(
            "INSERT INTO users (id, name, role, created_at) VALUES ('u', 'U', 'user', 0);
            INSERT INTO vendors (id, name, category, summary, address, time_zone, created_at)
                VALUES ('v1', 'V', 'hair', '', '', 'UTC', 0), ('v2', 'V', 'hair', '', '', 'UTC', 0),
                       ('v3', 'V', 'hair', '', '', 'UTC', 0);
            INSERT INTO rooms (id, user_id, vendor_id, last_seq, created_at)
                VALUES ('1', 'u', 'v1', 1, 10), ('2', 'u', 'v2', 0, 20), ('3', 'u', 'v3', 0, 30);
            INSERT INTO messages (room_id, seq, sender, client_id, body, sent_at)
                VALUES ('1', 1, 'u', 'c', 'b', 40);"
        )
        .execute(pool)
        .await
        .map(drop))
        .expect("inserted");
        let found = find_last_seqs(&db, "u", 2).await.expect("found");
        assert_eq!(found, [("1".to_owned(), 1), ("3".to_owned(), 0)]);
    }

    #[tokio::test]
    async fn a_draft_that_is_sent_many_times_at_once_is_stored_once() {
        let database = TestDatabase::create().await;
        let db = Db::open(&config::Database::at(database.url())).await.expect("opens");
        crate::write!(&db, |pool| sqlx::raw_sql(
            "INSERT INTO users (id, name, role, created_at) VALUES ('u', 'U', 'user', 0);
            INSERT INTO vendors (id, name, category, summary, address, time_zone, created_at)
                VALUES ('v', 'V', 'hair', '', '', 'UTC', 0);
            INSERT INTO rooms (id, user_id, vendor_id, last_seq, created_at) VALUES ('r', 'u', 'v', 0, 0);"
        )
        .execute(pool)
        .await
        .map(drop))
        .expect("inserted");
        let [room, sender, client_id, body] = ["r", "u", "c", "b"].map(str::to_owned);
        let draft = Draft { room, sender, client_id, body };
        let sent = futures_util::future::join_all((0..8).map(|_| insert_message(&db, &draft))).await;
        let sent: Vec<_> = sent.into_iter().map(|outcome| outcome.expect("stored")).collect();
        assert!(sent.iter().all(|(message, _)| message.seq == 1), "{sent:?}");
        assert_eq!(sent.iter().filter(|(_, is_new)| *is_new).count(), 1);
        assert_eq!(find_last_seqs(&db, "u", 1).await.expect("found"), [("r".to_owned(), 1)]);
    }
}
