//! Idempotency keys: a client that doesn't know whether its booking went through asks again with the same key, and
//! gets the same answer instead of another booking (draft-ietf-httpapi-idempotency-key-header).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::{read, within};

/// A key is a client's own random text, such as a UUID.
const MAX_KEY_BYTES: usize = 255;

/// A key, and what was asked for under it.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The client's text.
    pub key: String,
    request_hash: String,
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// The same was asked for: this was the answer, JSON text.
    Answered(String),
    /// Something else was asked for under this key.
    UsedForAnother,
}

impl IdempotencyKey {
    /// The key that a client sent for `request`, its own words for what it wants. `None` for a text that is no key.
    pub fn new(key: &str, request: &str) -> Option<Self> {
        let is_key =
            (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let request_hash = URL_SAFE_NO_PAD.encode(Sha256::digest(request));
        is_key.then(|| Self { key: key.to_owned(), request_hash })
    }

    fn compare(&self, (request_hash, answer): (String, String)) -> Known {
        if request_hash == self.request_hash { Known::Answered(answer) } else { Known::UsedForAnother }
    }
}

/// What is known of a user's key; nothing before its first 201.
pub async fn find(db: &Db, user_id: &str, key: &IdempotencyKey) -> sqlx::Result<Option<Known>> {
    const SQL: &str = "SELECT request_hash, answer FROM idempotency_keys WHERE user_id = $1 AND key = $2";
    let row: Option<(String, String)> =
        read!(db, |pool| sqlx::query_as(SQL).bind(user_id).bind(&key.key).fetch_optional(pool).await)?;
    Ok(row.map(|row| key.compare(row)))
}

/// Keeps an answer under a key, in the transaction of what it tells of. False where the key has an answer already.
pub async fn insert(
    transaction: &mut Transaction,
    user_id: &str,
    key: &IdempotencyKey,
    answer: &str,
) -> sqlx::Result<bool> {
    const SQL: &str = "
        INSERT INTO idempotency_keys (user_id, key, request_hash, answer, created_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL)
            .bind(user_id)
            .bind(&key.key)
            .bind(&key.request_hash)
            .bind(answer)
            .bind(EpochMillis::now())
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(done == 1)
}

/// Forgets at most `limit` keys from before a moment; says how many.
pub async fn delete_older(
    transaction: &mut Transaction,
    before: EpochMillis,
    limit: i64,
) -> sqlx::Result<u64> {
    const SQL: &str = "
        DELETE FROM idempotency_keys WHERE (user_id, key) IN (
            SELECT user_id, key FROM idempotency_keys WHERE created_at < $1 LIMIT $2)";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL).bind(before).bind(limit).execute(connection).await?.rows_affected()
    });
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_visible_text() {
        assert!(IdempotencyKey::new("a1b2-c3", "{}").is_some());
        for text in ["", "a b", "a\u{e9}", &"x".repeat(256)] {
            assert!(IdempotencyKey::new(text, "{}").is_none(), "{text}");
        }
    }
}
