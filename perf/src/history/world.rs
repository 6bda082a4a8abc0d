//! What there is to be booked, and who books.

use access_token::Role;
use anyhow::Context as _;
use backend::auth::tokens::AccessTokens;
use backend::clock::EpochMillis;
use backend::database::Db;
use backend::write;
use uuid::Uuid;

use super::record::Spec;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// One vendor's services, and the users; the last of them owns it.
pub(super) struct World {
    pub(super) specs: Vec<Spec>,
    pub(super) service_ids: Vec<String>,
    pub(super) user_ids: Vec<String>,
    tokens: AccessTokens,
}

impl World {
    /// Writes a vendor that is open round the clock, its services, and `users` users besides its owner.
    pub(super) async fn create(db: &Db, tokens: AccessTokens, users: usize) -> anyhow::Result<Self> {
        let mut user_ids = Vec::new();
        for number in 0..=users {
            let id = Uuid::now_v7().to_string();
            let role = if number == users { Role::Vendor } else { Role::User };
            let sql = "INSERT INTO users (id, name, role, created_at) VALUES ($1, $1, $2, 0)";
            write!(db, |pool| sqlx::query(sql).bind(&id).bind(role.as_str()).execute(pool).await.map(drop))?;
            user_ids.push(id);
        }
        let owner = user_ids.last().context("an owner")?;
        let vendor_id = insert_vendor(db, owner).await?;
        let resource = Uuid::now_v7().to_string();
        let sql = "INSERT INTO resources (id, vendor_id, name) VALUES ($1, $2, 'room')";
        write!(db, |pool| sqlx::query(sql).bind(&resource).bind(&vendor_id).execute(pool).await.map(drop))?;
        let specs = specs();
        let mut service_ids = Vec::new();
        for spec in &specs {
            let resource = spec.resource.map(|_| resource.as_str());
            service_ids.push(insert_service(db, &vendor_id, spec, resource).await?);
        }
        Ok(Self { specs, service_ids, user_ids, tokens })
    }

    /// The number of the vendor's owner among the users.
    pub(super) fn owner(&self) -> usize {
        self.user_ids.len() - 1
    }

    /// A fresh access token of this user.
    pub(super) fn token(&self, user: usize) -> anyhow::Result<String> {
        let role = if user == self.owner() { Role::Vendor } else { Role::User };
        let session = Uuid::now_v7().to_string();
        Ok(self.tokens.issue(&self.user_ids[user], &session, role, EpochMillis::now())?)
    }

    pub(super) fn user_number(&self, id: &str) -> anyhow::Result<usize> {
        self.user_ids.iter().position(|known| known == id).context("a user of the history")
    }

    pub(super) fn service_number(&self, id: &str) -> anyhow::Result<usize> {
        self.service_ids.iter().position(|known| known == id).context("a service of the history")
    }
}

/// One place; several; two that share a room, one for a group; a buffer that reaches into the neighbours; steps shorter
/// than a booking; approval by the vendor.
fn specs() -> Vec<Spec> {
    let plain = Spec {
        capacity: 1,
        resource: None,
        buffer_ms: 0,
        duration_ms: HOUR_MS,
        step_ms: HOUR_MS,
        needs_approval: false,
    };
    vec![
        plain.clone(),
        Spec { capacity: 4, ..plain.clone() },
        Spec { resource: Some(0), ..plain.clone() },
        Spec { resource: Some(0), capacity: 3, step_ms: HOUR_MS / 2, ..plain.clone() },
        Spec { buffer_ms: 15 * MINUTE_MS, step_ms: HOUR_MS / 2, ..plain.clone() },
        Spec { capacity: 2, duration_ms: 2 * HOUR_MS, step_ms: HOUR_MS / 2, ..plain.clone() },
        Spec { needs_approval: true, ..plain },
    ]
}

async fn insert_vendor(db: &Db, owner: &str) -> sqlx::Result<String> {
    const VENDOR: &str = "
        INSERT INTO vendors (id, owner_id, name, category, summary, address, time_zone, created_at)
        VALUES ($1, $2, 'history', 'history', '', '', 'UTC', 0)";
    const DAY: &str =
        "INSERT INTO opening_hours (vendor_id, weekday, from_minute, to_minute) VALUES ($1, $2, 0, 0)";
    let id = Uuid::now_v7().to_string();
    write!(db, |pool| sqlx::query(VENDOR).bind(&id).bind(owner).execute(pool).await.map(drop))?;
    for weekday in 1..=7_i64 {
        write!(db, |pool| sqlx::query(DAY).bind(&id).bind(weekday).execute(pool).await.map(drop))?;
    }
    Ok(id)
}

async fn insert_service(
    db: &Db,
    vendor_id: &str,
    spec: &Spec,
    resource: Option<&str>,
) -> sqlx::Result<String> {
    const SQL: &str = "
        INSERT INTO services (id, vendor_id, name, duration_minutes, step_minutes, price, capacity, buffer_minutes,
                              approval, resource_id)
        VALUES ($1, $2, 'service', $3, $4, 0, $5, $6, $7, $8)";
    let id = Uuid::now_v7().to_string();
    let approval = if spec.needs_approval { "manual" } else { "instant" };
    write!(db, |pool| {
        sqlx::query(SQL)
            .bind(&id)
            .bind(vendor_id)
            .bind(spec.duration_ms / MINUTE_MS)
            .bind(spec.step_ms / MINUTE_MS)
            .bind(spec.capacity)
            .bind(spec.buffer_ms / MINUTE_MS)
            .bind(approval)
            .bind(resource)
            .execute(pool)
            .await
            .map(drop)
    })?;
    Ok(id)
}
