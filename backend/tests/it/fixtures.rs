//! Vendors and services of a test's own, put straight into the database.

use backend::clock::EpochMillis;
use backend::database::{Db, Transaction};
use backend::write;
use jiff::{Timestamp, ToSpan as _, Unit};
use uuid::Uuid;

use crate::harness::{Stack, TestUser, eventually, send};

pub const HOUR_MS: i64 = 60 * 60 * 1000;

/// A vendor that is open round the clock, in UTC.
pub struct TestVendor {
    pub id: String,
    pub owner: TestUser,
}

/// Noon of the day after tomorrow, in UTC: a slot begins then.
pub fn noon() -> EpochMillis {
    let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).round(Unit::Hour).expect("a near hour");
    let noon = today.date().at(12, 0, 0, 0).checked_add(2.days()).expect("a near day");
    noon.to_zoned(jiff::tz::TimeZone::UTC).expect("UTC has no gaps").timestamp().into()
}

/// `hours` later.
pub fn later(moment: EpochMillis, hours: i64) -> EpochMillis {
    EpochMillis(moment.0 + hours * HOUR_MS)
}

impl Stack {
    /// A vendor of this name and category, and its owner.
    pub async fn open_vendor(&self, name: &str, category: &str) -> TestVendor {
        let owner = self.user("주인", access_token::Role::Vendor).await;
        let id = Uuid::now_v7().to_string();
        const VENDOR: &str = "
            INSERT INTO vendors (id, owner_id, name, category, summary, address, time_zone, created_at)
            VALUES ($1, $2, $3, $4, 'summary', 'address', 'UTC', 0)";
        const DAY: &str = "INSERT INTO opening_hours VALUES ($1, $2, 0, 0)";
        write!(&self.db, |pool| {
            let insert = sqlx::query(VENDOR).bind(&id).bind(&owner.id).bind(name).bind(category);
            insert.execute(pool).await.expect("inserted");
            for weekday in 1..=7_i64 {
                sqlx::query(DAY).bind(&id).bind(weekday).execute(pool).await.expect("inserted");
            }
        });
        TestVendor { id, owner }
    }

    /// A service of an hour, every hour, with this many places; its id.
    pub async fn service(&self, vendor: &TestVendor, capacity: i64) -> String {
        let id = Uuid::now_v7().to_string();
        let sql =
            "INSERT INTO services (id, vendor_id, name, duration_minutes, step_minutes, price, capacity)
            VALUES ($1, $2, 'service', 60, 60, 10000, $3)";
        write!(&self.db, |pool| {
            let insert = sqlx::query(sql).bind(&id).bind(&vendor.id).bind(capacity);
            insert.execute(pool).await.expect("inserted");
        });
        id
    }

    /// Runs a statement with these texts as its parameters.
    pub async fn execute(&self, sql: &str, texts: &[&str]) {
        let sql = || sqlx::AssertSqlSafe(sql.to_owned());
        write!(&self.db, |pool| {
            let query = texts.iter().fold(sqlx::query(sql()), |query, text| query.bind(*text));
            query.execute(pool).await.map(drop)
        })
        .expect("executed");
    }

    /// Changes columns of a service, in the words of an UPDATE.
    pub async fn set_service(&self, service: &str, columns: &str) {
        self.execute(&format!("UPDATE services SET {columns} WHERE id = $1"), &[service]).await;
    }

    /// Services of an hour, every hour, with these places, which all need one resource; their ids.
    pub async fn services_of_one_resource(&self, vendor: &TestVendor, capacities: &[i64]) -> Vec<String> {
        let resource = Uuid::now_v7().to_string();
        let sql = "INSERT INTO resources (id, vendor_id, name) VALUES ($1, $2, 'chair')";
        write!(&self.db, |pool| {
            sqlx::query(sql).bind(&resource).bind(&vendor.id).execute(pool).await.expect("inserted");
        });
        let mut services = Vec::new();
        for capacity in capacities {
            let service = self.service(vendor, *capacity).await;
            self.set_service(&service, &format!("resource_id = '{resource}'")).await;
            services.push(service);
        }
        services
    }

    /// Lets a hold of this booking, or of an offer on the waitlist, run out at once.
    pub async fn let_hold_run_out(&self, id: &str) {
        let holds = "UPDATE reservations SET hold_until = 1 WHERE id = $1 OR waitlist_id = $1";
        let timers = "UPDATE timers SET due_at = 1 WHERE kind = 'reservation-hold' AND subject IN (
            SELECT id FROM reservations WHERE id = $1 OR waitlist_id = $1)";
        for sql in [holds, timers] {
            self.execute(sql, &[id]).await;
        }
    }

    /// Waits until this backend talks to Redis: its first connection may take longer than a lock or the cache is
    /// waited for.
    pub async fn redis_is_used_by(&self, backend: usize) {
        eventually("redis counts as up", async || {
            let health = self.http.get(self.management_url(backend, "/actuator/health/readiness"));
            send(health).await.body["components"]["redis"]["status"] == "UP"
        })
        .await;
    }

    /// Until this transaction ends, no booking is stored: SQLite lets nobody else write, PostgreSQL not to this table.
    pub async fn keep_bookings_out(&self) -> Transaction {
        let mut transaction = self.another_db().await.begin().await.expect("nobody else writes");
        if let Transaction::Postgres(transaction) = &mut transaction {
            let lock = sqlx::query("LOCK TABLE reservations IN EXCLUSIVE MODE");
            lock.execute(&mut **transaction).await.expect("locked");
        }
        transaction
    }

    /// The database once more, through pools of its own.
    pub async fn another_db(&self) -> Db {
        let path = self.folder().join("config/backend.toml");
        let config = backend::config::Config::load(&path).expect("a valid configuration");
        Db::open(&config.database).await.expect("opened")
    }
}
