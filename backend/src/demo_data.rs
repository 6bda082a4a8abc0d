//! Something to look at on a fresh machine: invented vendors, each with an owner to sign in as.

use std::fmt;
use std::path::Path;

use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::within;

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
    const IS_FILLED: &str = "SELECT EXISTS (SELECT 1 FROM vendors)";
    let mut transaction = db.begin().await?;
    transaction.take_turns("demo data").await?;
    let is_filled: bool =
        within!(&mut transaction, |connection| sqlx::query_scalar(IS_FILLED).fetch_one(connection).await)?;
    if is_filled {
        return Ok(Summary::AlreadyThere);
    }
    insert_all(&mut transaction, &vendors).await?;
    transaction.commit().await?;
    let services = vendors.iter().map(|vendor| vendor.services.len()).sum();
    Ok(Summary::Loaded { vendors: vendors.len(), services })
}

async fn insert_all(transaction: &mut Transaction, vendors: &[DemoVendor]) -> sqlx::Result<()> {
    let now = EpochMillis::now();
    for vendor in vendors {
        let owner_id = find_or_insert_owner(transaction, vendor, now).await?;
        let vendor_id = insert_vendor(transaction, vendor, &owner_id, now).await?;
        insert_services(transaction, vendor, &vendor_id).await?;
        insert_hours(transaction, &vendor.hours, &vendor_id).await?;
    }
    Ok(())
}

/// The owner may have signed in before the data were loaded: then that user becomes the owner.
async fn find_or_insert_owner(
    transaction: &mut Transaction,
    vendor: &DemoVendor,
    now: EpochMillis,
) -> sqlx::Result<String> {
    const FIND: &str = "SELECT user_id FROM identities WHERE provider = $1 AND sub = $2";
    const PROMOTE: &str = "UPDATE users SET role = 'vendor' WHERE id = $1 AND role = 'user'";
    const USER: &str = "INSERT INTO users (id, name, role, created_at) VALUES ($1, $2, 'vendor', $3)";
    const IDENTITY: &str =
        "INSERT INTO identities (provider, sub, user_id, created_at) VALUES ($1, $2, $3, $4)";
    let known: Option<String> = within!(&mut *transaction, |connection| {
        sqlx::query_scalar(FIND).bind(PROVIDER).bind(&vendor.owner).fetch_optional(connection).await
    })?;
    if let Some(id) = known {
        within!(transaction, |connection| sqlx::query(PROMOTE)
            .bind(&id)
            .execute(connection)
            .await
            .map(drop))?;
        return Ok(id);
    }
    let id = Uuid::now_v7().to_string();
    within!(transaction, |connection| {
        sqlx::query(USER).bind(&id).bind(&vendor.owner_name).bind(now).execute(&mut *connection).await?;
        let identity = sqlx::query(IDENTITY).bind(PROVIDER).bind(&vendor.owner).bind(&id).bind(now);
        identity.execute(connection).await.map(drop)
    })?;
    Ok(id)
}

async fn insert_vendor(
    transaction: &mut Transaction,
    vendor: &DemoVendor,
    owner_id: &str,
    now: EpochMillis,
) -> sqlx::Result<String> {
    const SQL: &str = "
        INSERT INTO vendors (id, owner_id, name, category, summary, address, time_zone, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let id = Uuid::now_v7().to_string();
    within!(transaction, |connection| {
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
            .await
            .map(drop)
    })?;
    Ok(id)
}

async fn insert_services(
    transaction: &mut Transaction,
    vendor: &DemoVendor,
    vendor_id: &str,
) -> sqlx::Result<()> {
    const SQL: &str = "
        INSERT INTO services (id, vendor_id, name, duration_minutes, step_minutes, price, capacity)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    for service in &vendor.services {
        within!(&mut *transaction, |connection| {
            sqlx::query(SQL)
                .bind(Uuid::now_v7().to_string())
                .bind(vendor_id)
                .bind(&service.name)
                .bind(service.duration_minutes)
                .bind(service.step_minutes.unwrap_or(service.duration_minutes))
                .bind(service.price)
                .bind(service.capacity)
                .execute(connection)
                .await
                .map(drop)
        })?;
    }
    Ok(())
}

async fn insert_hours(
    transaction: &mut Transaction,
    hours: &OpeningHours,
    vendor_id: &str,
) -> sqlx::Result<()> {
    const SQL: &str =
        "INSERT INTO opening_hours (vendor_id, weekday, from_minute, to_minute) VALUES ($1, $2, $3, $4)";
    for weekday in WEEK {
        for opening in hours.on(weekday) {
            within!(&mut *transaction, |connection| {
                sqlx::query(SQL)
                    .bind(vendor_id)
                    .bind(i64::from(weekday.to_monday_one_offset()))
                    .bind(minute_of(opening.from))
                    .bind(minute_of(opening.to))
                    .execute(connection)
                    .await
                    .map(drop)
            })?;
        }
    }
    Ok(())
}
