//! What is there in the end: in the database, and as each user reads it.

use std::collections::HashMap;
use std::time::Duration;

use backend::database::Db;
use backend::read;
use serde_json::Value;

use crate::api::{Ask, Service};

use super::client::rfc_3339;
use super::record::Row;
use super::world::World;

#[derive(sqlx::FromRow)]
struct Stored {
    id: String,
    user_id: String,
    service_id: String,
    starts_at: i64,
    ends_at: i64,
    party_size: i64,
    note: Option<String>,
    status: String,
    waitlist_id: Option<String>,
}

/// Every booking in the database.
pub(super) async fn rows(db: &Db, world: &World) -> anyhow::Result<Vec<Row>> {
    const SQL: &str =
        "SELECT id, user_id, service_id, starts_at, ends_at, party_size, note, status, waitlist_id
        FROM reservations";
    let stored: Vec<Stored> = read!(db, |pool| sqlx::query_as(SQL).fetch_all(pool).await)?;
    let row = |stored: Stored| {
        anyhow::Ok(Row {
            user: world.user_number(&stored.user_id)?,
            service: world.service_number(&stored.service_id)?,
            id: stored.id,
            starts_at: stored.starts_at,
            ends_at: stored.ends_at,
            party: stored.party_size,
            note: stored.note,
            status: stored.status,
            is_offer: stored.waitlist_id.is_some(),
        })
    };
    stored.into_iter().map(row).collect()
}

/// What users read otherwise than it is stored, from each backend in turn.
pub(super) async fn unreadable(
    world: &World,
    services: &[Service],
    rows: &[Row],
) -> anyhow::Result<Vec<String>> {
    let mut stored: HashMap<&str, &Row> =
        rows.iter().filter(|row| !row.is_offer).map(|row| (row.id.as_str(), row)).collect();
    let mut found = Vec::new();
    for user in 0..world.user_ids.len() {
        for booking in bookings(world, &services[user % services.len()], user).await? {
            let row = booking["id"].as_str().and_then(|id| stored.remove(id));
            if row.is_none_or(|row| !is_same(&booking, row)) {
                found.push(format!("user {user} reads {booking}, stored is {row:?}"));
            }
        }
    }
    found.extend(stored.values().map(|row| format!("its user doesn't find {row:?}")));
    Ok(found)
}

async fn bookings(world: &World, service: &Service, user: usize) -> anyhow::Result<Vec<Value>> {
    let token = world.token(user)?;
    let mut connection = service.connect().await?;
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let ask = Ask::get(&format!("/api/reservations?limit=100{cursor}")).of(&token);
        let mut page = connection.ask(&ask).await;
        for _ in 0..50 {
            if page.is_ok() {
                break;
            }
            // It may just have lost its connections to the database.
            tokio::time::sleep(Duration::from_millis(100)).await;
            connection = service.connect().await?;
            page = connection.ask(&ask).await;
        }
        let page = page?;
        all.extend(page["items"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["next_cursor"].as_str() else { return Ok(all) };
        cursor = format!("&cursor={next}");
    }
}

fn is_same(booking: &Value, row: &Row) -> bool {
    booking["status"] == row.status
        && booking["starts_at"] == rfc_3339(row.starts_at)
        && booking["party_size"] == row.party
        && booking["note"].as_str() == row.note.as_deref()
}
