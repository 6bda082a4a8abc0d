//! The rule that the database holds, whoever writes to it.

use std::time::Duration;

use access_token::Role;
use backend::clock::EpochMillis;
use backend::database::Db;
use backend::reservations::model::{Reservation, Status};
use backend::reservations::occupancy::{Busy, Places};
use backend::reservations::store::{InsertError, find_busy, insert};
use backend::write;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::fixtures::{HOUR_MS, TestVendor};
use crate::harness::Stack;

/// A service of a vendor, and a user who books it.
struct Scene {
    stack: Stack,
    vendor: TestVendor,
    service: String,
    user: String,
}

impl Scene {
    async fn new(capacity: i64) -> Self {
        let stack = Stack::start().await;
        let vendor = stack.open_vendor("vendor", "네일").await;
        let service = stack.service(&vendor, capacity).await;
        let user = stack.user("user", Role::User).await.id;
        Self { stack, vendor, service, user }
    }

    /// From one hour up to another.
    fn booking(&self, from: i64, to: i64, party_size: i64) -> Reservation {
        Reservation {
            id: uuid::Uuid::now_v7().to_string(),
            service_id: self.service.clone(),
            vendor_id: self.vendor.id.clone(),
            user_id: self.user.clone(),
            starts_at: EpochMillis(from * HOUR_MS),
            ends_at: EpochMillis(to * HOUR_MS),
            party_size,
            note: None,
            status: Status::Confirmed,
            hold_until: None,
            created_at: EpochMillis(0),
        }
    }

    async fn insert(&self, from: i64, to: i64, party_size: i64) -> Result<String, InsertError> {
        let booking = self.booking(from, to, party_size);
        insert(&self.stack.db, &booking).await.map(|()| booking.id)
    }

    /// Sets one column of a booking, as reschedule and cancel will.
    async fn update(&self, sql: &'static str, id: &str) -> Result<(), InsertError> {
        let outcome = write!(&self.stack.db, |pool| sqlx::query(sql).bind(id).execute(pool).await.map(drop));
        Ok(outcome?)
    }
}

fn is_taken<T>(outcome: &Result<T, InsertError>) -> bool {
    match outcome {
        Ok(_) => false,
        Err(InsertError::SlotTaken) => true,
        Err(error) => panic!("{error}"),
    }
}

/// How many of `count` attempts at once, through two pools, get in.
async fn rush(scene: &Scene, count: usize) -> usize {
    let other = scene.stack.another_db().await;
    let attempts = (0..count).map(async |number| {
        let db: &Db = if number % 2 == 0 { &scene.stack.db } else { &other };
        insert(db, &scene.booking(0, 1, 1)).await
    });
    let outcomes = futures_util::future::join_all(attempts).await;
    outcomes.iter().filter(|outcome| !is_taken(outcome)).count()
}

#[tokio::test]
async fn of_two_hundred_at_once_through_two_pools_one_gets_the_place() {
    assert_eq!(rush(&Scene::new(1).await, 200).await, 1);
}

#[tokio::test]
async fn of_sixty_at_once_through_two_pools_three_get_three_places() {
    assert_eq!(rush(&Scene::new(3).await, 60).await, 3);
}

#[tokio::test]
async fn two_that_each_overlap_another_half_do_not_count_together() {
    let scene = Scene::new(2).await;
    scene.insert(0, 2, 1).await.expect("free");
    scene.insert(2, 4, 1).await.expect("free");
    scene.insert(1, 3, 1).await.expect("one place is left at every instant");
    assert!(is_taken(&scene.insert(1, 2, 1).await));
    assert!(is_taken(&scene.insert(0, 4, 1).await));
    scene.insert(3, 4, 1).await.expect("one place is left at every instant");
    scene.insert(4, 5, 2).await.expect("what ends then takes nothing");
}

/// Random bookings of four services, of which three need one resource; each with its buffer. The naive count says what
/// fits, and the database must say the same.
#[tokio::test]
async fn whatever_comes_the_database_refuses_exactly_what_does_not_fit() {
    const BUFFERS: [i64; 4] = [0, 30, 45, 0];
    const CAPACITIES: [i64; 4] = [4, 2, 1, 4];
    let mut scene = Scene::new(CAPACITIES[0]).await;
    let mut services = vec![scene.service.clone()];
    services.extend(scene.stack.services_of_one_resource(&scene.vendor, &CAPACITIES[1..]).await);
    for (service, buffer) in services.iter().zip(BUFFERS) {
        scene.stack.set_service(service, &format!("buffer_minutes = {buffer}")).await;
    }
    let mut random = StdRng::seed_from_u64(7);
    let (mut busy, mut refused): (Vec<Busy>, i64) = (Vec::new(), 0);
    for _ in 0..400 {
        let which = random.random_range(0..4);
        scene.service.clone_from(&services[which]);
        let (from, length) = (random.random_range(0..400), random.random_range(1..=24));
        let party_size = random.random_range(1..=CAPACITIES[which]);
        let booking = scene.booking(from, from + length, party_size);
        let resource_id = (which > 0).then(|| "the resource".to_owned());
        let buffer = Duration::from_secs(u64::try_from(BUFFERS[which]).expect("positive") * 60);
        let wanted = Busy {
            service_id: booking.service_id.clone(),
            resource_id,
            busy_from: booking.starts_at.minus(buffer),
            busy_until: booking.ends_at.plus(buffer),
            party_size,
        };
        let places = Places::of(&wanted.service_id, wanted.resource_id.as_deref(), CAPACITIES[which], &busy);
        let fits = places.left(wanted.busy_from, wanted.busy_until) >= party_size;
        let outcome = insert(&scene.stack.db, &booking).await;
        assert_eq!(!is_taken(&outcome), fits, "{wanted:?} over {busy:?}");
        if fits {
            busy.push(wanted);
        } else {
            refused += 1;
        }
    }
    assert!(busy.len() > 40 && refused > 40, "{} taken, {refused} refused", busy.len());
    let span = (EpochMillis(0), EpochMillis(500 * HOUR_MS));
    let found = find_busy(&scene.stack.db, &scene.vendor.id, span.0, span.1).await.expect("found");
    let mut spans: Vec<_> = found.iter().map(|busy| (busy.busy_from, busy.busy_until)).collect();
    let mut expected: Vec<_> = busy.iter().map(|busy| (busy.busy_from, busy.busy_until)).collect();
    spans.sort_unstable();
    expected.sort_unstable();
    assert_eq!(spans, expected);
}

#[tokio::test]
async fn another_service_has_places_of_its_own() {
    let mut scene = Scene::new(1).await;
    scene.insert(0, 1, 1).await.expect("free");
    scene.service = scene.stack.service(&scene.vendor, 1).await;
    scene.insert(0, 1, 1).await.expect("free");
}

#[tokio::test]
async fn an_update_is_held_to_the_same_rule() {
    const TO_NOON: &str = "UPDATE reservations SET starts_at = 12 * 3600000, ends_at = 13 * 3600000,
        busy_from = 12 * 3600000, busy_until = 13 * 3600000 WHERE id = $1";
    const SHIFT: &str =
        "UPDATE reservations SET ends_at = ends_at + 1800000, busy_until = busy_until + 1800000
        WHERE id = $1";
    const CANCEL: &str = "UPDATE reservations SET status = 'cancelled' WHERE id = $1";
    const CONFIRM: &str = "UPDATE reservations SET status = 'confirmed' WHERE id = $1";
    let scene = Scene::new(1).await;
    let noon = scene.insert(12, 13, 1).await.expect("free");
    let morning = scene.insert(9, 10, 1).await.expect("free");
    assert!(is_taken(&scene.update(TO_NOON, &morning).await));
    scene.update(SHIFT, &morning).await.expect("it only overlaps itself");

    scene.update(CANCEL, &noon).await.expect("cancelling takes no place");
    scene.update(TO_NOON, &morning).await.expect("the place is free now");
    assert!(is_taken(&scene.update(CONFIRM, &noon).await));
}

/// What the program before this one does while this one is being rolled out: it knows nothing of what is busy.
#[tokio::test]
async fn a_booking_of_the_older_program_is_held_to_the_same_rule() {
    const SQL: &str = "INSERT INTO reservations
            (id, service_id, vendor_id, user_id, starts_at, ends_at, party_size, note, status, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, 1, NULL, 'confirmed', 0)";
    let scene = Scene::new(1).await;
    let insert = async |from: i64, to: i64| {
        let outcome: sqlx::Result<()> = write!(&scene.stack.db, |pool| {
            sqlx::query(SQL)
                .bind(uuid::Uuid::now_v7().to_string())
                .bind(&scene.service)
                .bind(&scene.vendor.id)
                .bind(&scene.user)
                .bind(from * HOUR_MS)
                .bind(to * HOUR_MS)
                .execute(pool)
                .await
                .map(drop)
        });
        outcome.map_err(InsertError::from)
    };
    insert(1, 3).await.expect("free");
    assert!(is_taken(&insert(2, 4).await));
    assert!(is_taken(&scene.insert(2, 4, 1).await), "its bookings count for the newer one");
    scene.insert(3, 4, 1).await.expect("free");
    assert!(is_taken(&insert(3, 5).await));
    let busy = find_busy(&scene.stack.db, &scene.vendor.id, EpochMillis(0), EpochMillis(9 * HOUR_MS)).await;
    assert_eq!(busy.expect("found").len(), 2);
}

#[tokio::test]
async fn the_search_for_what_overlaps_reads_one_day_of_an_index() {
    let scene = Scene::new(1).await;
    let sql = "
        SELECT sum(party_size) FROM reservations
        WHERE status IN ('pending', 'confirmed') AND service_id = 's' AND id <> 'i'
          AND busy_from > 1 AND busy_from <= 3 AND busy_until > 2";
    match &scene.stack.db {
        Db::Sqlite(sqlite) => {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(explain).fetch_all(&sqlite.read).await.expect("a plan");
            let expected = "SEARCH reservations USING COVERING INDEX reservations_busy \
                            (service_id=? AND busy_from>? AND busy_from<?)";
            assert_eq!(plan.iter().map(|step| step.3.as_str()).collect::<Vec<_>>(), [expected]);
        }
        Db::Postgres(pool) => {
            let mut transaction = pool.begin().await.expect("begun");
            // So few rows would be read one after the other.
            let hint = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";
            sqlx::raw_sql(hint).execute(&mut *transaction).await.expect("set");
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {sql}"));
            let plan: Vec<String> =
                sqlx::query_scalar(explain).fetch_all(&mut *transaction).await.expect("a plan");
            assert!(
                plan.iter().any(|step| step.contains("Index Only Scan using reservations_busy")),
                "{plan:?}"
            );
            assert!(plan.iter().any(|step| step.contains("busy_from > 1) AND (busy_from <= 3")), "{plan:?}");
        }
    }
}
