//! Something to look at on a fresh machine: invented vendors, each with an owner to sign in as.

use std::fmt;
use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::database::Db;
use crate::transaction;

use self::files::{DemoVendor, read};
use crate::vendors::hours::{OpeningHours, WEEK, minute_of};

mod files;

/// Whose word it is that somebody owns a vendor: the identity `google:owner-001` owns the first.
const PROVIDER: &str = "google";
const TIME_ZONE: &str = "Asia/Seoul";

/// What was loaded.
#[derive(Debug, PartialEq, Eq)]
pub enum Summary {
    /// This many vendors and services.
    Loaded {
        /// Vendors, each with an owner.
        vendors: usize,
        /// What they offer together.
        services: usize,
    },
    /// Nothing: there are vendors already.
    AlreadyThere,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { vendors, services } => {
                write!(f, "loaded {vendors} vendors with {services} services")
            }
            Self::AlreadyThere => write!(f, "there are vendors already; nothing was loaded"),
        }
    }
}

/// Loads the data in `folder`, all or nothing, unless there is a vendor already. It may be run again and while
/// backends run: whoever comes second finds the vendors of the first.
pub async fn load(db: &Db, folder: &Path) -> anyhow::Result<Summary> {
    let vendors = read(folder)?;
    let summary = transaction!(db, |tx| {
        let is_filled: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM vendors)").fetch_one(&mut *tx).await?;
        if is_filled {
            Summary::AlreadyThere
        } else {
            insert_all(tx, &vendors).await?;
            let services = vendors.iter().map(|vendor| vendor.services.len()).sum();
            Summary::Loaded { vendors: vendors.len(), services }
        }
    });
    Ok(summary)
}

async fn insert_all(connection: &mut SqliteConnection, vendors: &[DemoVendor]) -> sqlx::Result<()> {
    let now = EpochMillis::now();
    for vendor in vendors {
        let owner_id = find_or_insert_owner(&mut *connection, vendor, now).await?;
        let vendor_id = insert_vendor(&mut *connection, vendor, &owner_id, now).await?;
        insert_services(&mut *connection, vendor, &vendor_id).await?;
        insert_hours(&mut *connection, &vendor.hours, &vendor_id).await?;
    }
    Ok(())
}

/// The owner may have signed in before the data were loaded: then that user becomes the owner.
async fn find_or_insert_owner(
    connection: &mut SqliteConnection,
    vendor: &DemoVendor,
    now: EpochMillis,
) -> sqlx::Result<String> {
    let known: Option<String> =
        sqlx::query_scalar("SELECT user_id FROM identities WHERE provider = $1 AND sub = $2")
            .bind(PROVIDER)
            .bind(&vendor.owner)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(id) = known {
        sqlx::query("UPDATE users SET role = 'vendor' WHERE id = $1 AND role = 'user'")
            .bind(&id)
            .execute(connection)
            .await?;
        return Ok(id);
    }
    let id = Uuid::now_v7().to_string();
    sqlx::query("INSERT INTO users (id, name, role, created_at) VALUES ($1, $2, 'vendor', $3)")
        .bind(&id)
        .bind(&vendor.owner_name)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO identities (provider, sub, user_id, created_at) VALUES ($1, $2, $3, $4)")
        .bind(PROVIDER)
        .bind(&vendor.owner)
        .bind(&id)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(id)
}

async fn insert_vendor(
    connection: &mut SqliteConnection,
    vendor: &DemoVendor,
    owner_id: &str,
    now: EpochMillis,
) -> sqlx::Result<String> {
    const SQL: &str = "
        INSERT INTO vendors (id, owner_id, name, category, summary, address, time_zone, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let id = Uuid::now_v7().to_string();
    sqlx::query(SQL)
        .bind(&id)
        .bind(owner_id)
        .bind(&vendor.name)
        .bind(&vendor.category)
        .bind(&vendor.summary)
        .bind(&vendor.address)
        .bind(TIME_ZONE)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(id)
}

async fn insert_services(
    connection: &mut SqliteConnection,
    vendor: &DemoVendor,
    vendor_id: &str,
) -> sqlx::Result<()> {
    const SQL: &str = "
        INSERT INTO services (id, vendor_id, name, duration_minutes, step_minutes, price, capacity)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    for service in &vendor.services {
        sqlx::query(SQL)
            .bind(Uuid::now_v7().to_string())
            .bind(vendor_id)
            .bind(&service.name)
            .bind(service.duration_minutes)
            .bind(service.step_minutes.unwrap_or(service.duration_minutes))
            .bind(service.price)
            .bind(service.capacity)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn insert_hours(
    connection: &mut SqliteConnection,
    hours: &OpeningHours,
    vendor_id: &str,
) -> sqlx::Result<()> {
    const SQL: &str =
        "INSERT INTO opening_hours (vendor_id, weekday, from_minute, to_minute) VALUES ($1, $2, $3, $4)";
    for weekday in WEEK {
        for opening in hours.on(weekday) {
            sqlx::query(SQL)
                .bind(vendor_id)
                .bind(i64::from(weekday.to_monday_one_offset()))
                .bind(minute_of(opening.from))
                .bind(minute_of(opening.to))
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}
