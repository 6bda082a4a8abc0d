//! Vendors in the database.

use jiff::civil::Weekday;

use crate::database::Db;
use crate::read;
use crate::vendors::hours::{Opening, OpeningHours, time_at};
use crate::vendors::model::{Service, VendorSummary};

/// Which vendors to list.
#[derive(Debug, Default)]
pub(crate) struct Filter<'a> {
    /// In name, summary or address.
    pub(crate) text: Option<&'a str>,
    /// Exactly this category.
    pub(crate) category: Option<&'a str>,
    /// Only those after this id.
    pub(crate) after: Option<&'a str>,
}

/// At most `limit` vendors in the order of their ids, which is the order in which they came.
pub(crate) async fn list(db: &Db, filter: &Filter<'_>, limit: u32) -> sqlx::Result<Vec<VendorSummary>> {
    const SQL: &str = r"
        SELECT id, name, category, summary, address, time_zone, created_at FROM vendors
        WHERE id > $1
          AND ($2 IS NULL OR category = $2)
          AND ($3 IS NULL OR name LIKE $3 ESCAPE '\' OR summary LIKE $3 ESCAPE '\' OR address LIKE $3 ESCAPE '\')
        ORDER BY id LIMIT $4";
    read!(db, |pool| {
        sqlx::query_as(SQL)
            .bind(filter.after.unwrap_or_default())
            .bind(filter.category)
            .bind(filter.text.map(pattern))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await
    })
}

/// The vendor with this id.
pub(crate) async fn find(db: &Db, id: &str) -> sqlx::Result<Option<VendorSummary>> {
    const SQL: &str =
        "SELECT id, name, category, summary, address, time_zone, created_at FROM vendors WHERE id = $1";
    read!(db, |pool| sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)
}

/// What the vendor offers, in the order in which it was added.
pub(crate) async fn services_of(db: &Db, vendor_id: &str) -> sqlx::Result<Vec<Service>> {
    const SQL: &str = "
        SELECT id, name, duration_minutes, step_minutes, price, capacity, buffer_minutes, lead_minutes, max_days_ahead,
               cancel_minutes, approval, resource_id, is_active
        FROM services
        WHERE vendor_id = $1 ORDER BY id";
    read!(db, |pool| sqlx::query_as(SQL).bind(vendor_id).fetch_all(pool).await)
}

/// A service, whose it is, and the vendor's time zone.
#[derive(sqlx::FromRow)]
pub(crate) struct ServiceOfVendor {
    pub(crate) vendor_id: String,
    pub(crate) time_zone: String,
    #[sqlx(flatten)]
    pub(crate) service: Service,
}

/// The service with this id.
pub(crate) async fn find_service(db: &Db, service_id: &str) -> sqlx::Result<Option<ServiceOfVendor>> {
    const SQL: &str = "
        SELECT v.id AS vendor_id, v.time_zone,
               s.id, s.name, s.duration_minutes, s.step_minutes, s.price, s.capacity, s.buffer_minutes, s.lead_minutes,
               s.max_days_ahead, s.cancel_minutes, s.approval, s.resource_id, s.is_active
        FROM services s JOIN vendors v ON v.id = s.vendor_id
        WHERE s.id = $1";
    read!(db, |pool| sqlx::query_as(SQL).bind(service_id).fetch_optional(pool).await)
}

/// The vendor's week.
pub(crate) async fn hours_of(db: &Db, vendor_id: &str) -> sqlx::Result<OpeningHours> {
    const SQL: &str = "
        SELECT weekday, from_minute, to_minute FROM opening_hours
        WHERE vendor_id = $1 ORDER BY weekday, from_minute";
    let rows: Vec<(i64, i64, i64)> =
        read!(db, |pool| sqlx::query_as(SQL).bind(vendor_id).fetch_all(pool).await)?;
    let mut hours = OpeningHours::default();
    for (weekday, from, to) in rows {
        let weekday = i8::try_from(weekday).ok().and_then(|day| Weekday::from_monday_one_offset(day).ok());
        let (Some(weekday), Some(from), Some(to)) = (weekday, time_at(from), time_at(to)) else {
            return Err(sqlx::Error::Decode(format!("opening hours of vendor {vendor_id}").into()));
        };
        hours.on_mut(weekday).push(Opening { from, to });
    }
    Ok(hours)
}

/// A LIKE pattern that finds `text` anywhere and takes no character of it as a wildcard.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_search_are_ordinary_characters() {
        assert_eq!(pattern(r"100%_\"), r"%100\%\_\\%");
    }
}
