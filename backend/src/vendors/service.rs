//! What can be asked of vendors.

use bytes::Bytes;
use jiff::tz::TimeZone;

use crate::config;
use crate::database::Db;
use crate::redis::Redis;
use crate::vendors::cache::{Lookup, PageCache};
use crate::vendors::model::{BookableService, Vendor, VendorSummary};
use crate::vendors::store::{self, Filter};

/// The vendors. Cloning it is cheap.
#[derive(Clone)]
pub struct Vendors {
    db: Db,
    cache: PageCache,
}

impl Vendors {
    /// Vendors in this database, their pages cached in this Redis.
    pub fn new(db: Db, redis: Redis, config: config::Vendors) -> Self {
        Self { db, cache: PageCache::new(redis, config.cache) }
    }

    /// At most `limit` vendors after the one called `after`.
    pub(crate) async fn list(&self, filter: &Filter<'_>, limit: u32) -> sqlx::Result<Vec<VendorSummary>> {
        store::list(&self.db, filter, limit).await
    }

    /// A vendor's page as JSON, from the cache if it is there.
    pub(crate) async fn page(&self, vendor_id: &str) -> sqlx::Result<Option<Bytes>> {
        let lookup = self.cache.find(vendor_id).await;
        if let Lookup::Hit(page) = lookup {
            return Ok(Some(page));
        }
        let Some(vendor) = self.find(vendor_id).await? else { return Ok(None) };
        let page = serde_json::to_vec(&vendor).expect("strings and numbers serialise");
        if matches!(lookup, Lookup::Miss) {
            self.cache.insert(vendor_id, &page).await;
        }
        Ok(Some(Bytes::from(page)))
    }

    /// A service and what decides when it can be booked; always what the database says now.
    pub async fn find_bookable(&self, service_id: &str) -> sqlx::Result<Option<BookableService>> {
        let Some(found) = store::find_service(&self.db, service_id).await? else { return Ok(None) };
        let time_zone = TimeZone::get(&found.time_zone).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let hours = store::hours_of(&self.db, &found.vendor_id).await?;
        Ok(Some(BookableService { vendor_id: found.vendor_id, time_zone, hours, service: found.service }))
    }

    /// All services of a vendor, in the same form, for showing what can be booked. `None` if there is no such vendor.
    pub async fn find_bookable_of(&self, vendor_id: &str) -> sqlx::Result<Option<Vec<BookableService>>> {
        let Some(vendor) = self.find(vendor_id).await? else { return Ok(None) };
        let time_zone =
            TimeZone::get(&vendor.summary.time_zone).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Some(
            vendor
                .services
                .into_iter()
                .map(|service| BookableService {
                    vendor_id: vendor_id.to_owned(),
                    time_zone: time_zone.clone(),
                    hours: vendor.hours.clone(),
                    service,
                })
                .collect(),
        ))
    }

    async fn find(&self, vendor_id: &str) -> sqlx::Result<Option<Vendor>> {
        let Some(summary) = store::find(&self.db, vendor_id).await? else { return Ok(None) };
        let services = store::services_of(&self.db, vendor_id).await?;
        let hours = store::hours_of(&self.db, vendor_id).await?;
        Ok(Some(Vendor { summary, services, hours }))
    }
}
