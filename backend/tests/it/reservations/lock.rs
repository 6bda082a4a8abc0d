//! The lock in front of a place that only one can get.

use std::time::{Duration, Instant};

use access_token::Role;
use backend::config::Config;
use backend::notifications::service::Notifications;
use backend::redis::Redis;
use backend::reservations::lock::{Acquisition, Held, SlotLocks};
use backend::reservations::service::{Request, Reservations};
use backend::vendors::service::Vendors;
use serde_json::json;

use crate::fixtures::{later, noon};
use crate::harness::{Stack, eventually};

fn locks(stack: &Stack, ttl: Duration) -> SlotLocks {
    let path = stack.folder().join("config/backend.toml");
    let config = Config::load(&path).expect("a valid configuration");
    SlotLocks::new(Redis::new(&config.redis).expect("a valid address"), ttl)
}

/// A connection is made first: on a busy machine that alone may take longer than a lock is waited for.
async fn acquire(locks: &SlotLocks, service_id: &str) -> Acquisition {
    loop {
        match locks.acquire(service_id, noon()).await {
            Acquisition::Skipped(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            outcome => return outcome,
        }
    }
}

async fn hold(locks: &SlotLocks, service_id: &str) -> Held {
    match acquire(locks, service_id).await {
        Acquisition::Held(held) => held,
        other => panic!("it is free: {other:?}"),
    }
}

#[tokio::test]
async fn who_finds_the_lock_held_is_told_so_at_once_and_gets_in_later() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let user = stack.user("user", Role::User).await;
    let key = format!("lock:slot:{service}:{}", noon().0);
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    stack.redis_is_used_by(0).await;
    stack.redis_cli(&["SET", &key, "another's token"]);
    let refused = stack.post_as(&user, "/api/reservations", body.clone()).await;
    refused.expect_problem(409, "slot-busy");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(stack.redis_cli(&["GET", &key]), "another's token");

    stack.redis_cli(&["DEL", &key]);
    stack.post_as(&user, "/api/reservations", body).await.expect(201);
    assert_eq!(stack.redis_cli(&["EXISTS", &key]), "0");
}

#[tokio::test]
async fn where_places_are_left_nobody_meets_a_lock() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "필라테스").await;
    let service = stack.service(&vendor, 2).await;
    let user = stack.user("user", Role::User).await;
    stack.redis_cli(&["SET", &format!("lock:slot:{service}:{}", noon().0), "another's token"]);
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    stack.post_as(&user, "/api/reservations", body).await.expect(201);
}

#[tokio::test]
async fn a_redis_that_hangs_does_not_hold_up_a_booking() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let user = stack.user("user", Role::User).await;
    stack.redis_cli(&["CLIENT", "PAUSE", "60000", "ALL"]);
    let mut times = Vec::new();
    for hours in 0..5 {
        let body = json!({"service_id": service, "starts_at": later(noon(), hours).to_string()});
        let start = Instant::now();
        stack.post_as(&user, "/api/reservations", body.clone()).await.expect(201);
        times.push(start.elapsed());
        stack.post_as(&user, "/api/reservations", body).await.expect_problem(409, "slot-taken");
    }
    // The machine may be busy: the quickest tells what Redis cost.
    assert!(times.iter().min() < Some(&Duration::from_millis(600)), "{times:?}");
}

#[tokio::test]
async fn one_holds_the_lock_until_it_is_released() {
    let stack = Stack::start().await;
    let locks = locks(&stack, Duration::from_secs(60));
    let held = hold(&locks, "service").await;
    assert!(matches!(acquire(&locks, "service").await, Acquisition::Busy));
    hold(&locks, "another service").await;
    locks.release(held).await;
    hold(&locks, "service").await;
}

#[tokio::test]
async fn a_lock_ends_by_itself_and_is_then_not_taken_from_its_next_holder() {
    let stack = Stack::start().await;
    let late = hold(&locks(&stack, Duration::from_millis(50)), "service").await;
    let locks = locks(&stack, Duration::from_secs(60));
    while matches!(acquire(&locks, "service").await, Acquisition::Busy) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    locks.release(late).await;
    assert!(matches!(acquire(&locks, "service").await, Acquisition::Busy));
}

#[tokio::test]
async fn a_lock_that_redis_set_too_late_is_taken_away_again() {
    let stack =
        Stack::with_config(1, |config| config["reservations"]["lock_ms"] = toml::Value::from(60_000)).await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let user = stack.user("user", Role::User).await;
    stack.redis_is_used_by(0).await;
    stack.redis_cli(&["CLIENT", "PAUSE", "500", "ALL"]);
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    stack.post_as(&user, "/api/reservations", body).await.expect(201);
    eventually("the lock was set", async || {
        stack.redis_cli(&["INFO", "commandstats"]).contains("cmdstat_set:")
    })
    .await;
    let key = format!("lock:slot:{service}:{}", noon().0);
    eventually("it is gone", async || stack.redis_cli(&["EXISTS", &key]) == "0").await;
}

#[tokio::test]
async fn a_booking_whose_client_has_gone_is_finished_and_its_lock_released() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let user = stack.user("user", Role::User).await;
    let path = stack.folder().join("config/backend.toml");
    let mut config = Config::load(&path).expect("a valid configuration");
    config.reservations.lock = Duration::from_secs(60);
    let redis = Redis::new(&config.redis).expect("a valid address");
    redis.ping().await.expect("connected");
    let vendors = Vendors::new(stack.db.clone(), redis.clone(), config.vendors);
    let notifications = Notifications::new(redis.clone());
    let reservations =
        Reservations::new(stack.db.clone(), redis, vendors, notifications, config.reservations);

    let writing = stack.keep_bookings_out().await;
    let request = Request {
        service_id: service.parse().expect("an id"),
        starts_at: noon().to_string().parse().expect("a moment"),
        party_size: 1,
        note: None,
    };
    let booking = tokio::spawn({
        let (reservations, user_id) = (reservations.clone(), user.id.clone());
        async move { reservations.reserve_once(&user_id, request, None).await }
    });
    let key = format!("lock:slot:{service}:{}", noon().0);
    eventually("the lock is held", async || stack.redis_cli(&["EXISTS", &key]) == "1").await;
    booking.abort();
    assert!(booking.await.expect_err("its client has gone").is_cancelled());

    writing.commit().await.expect("nothing was written");
    reservations.stop(Duration::from_secs(20)).await;
    assert_eq!(stack.redis_cli(&["EXISTS", &key]), "0");
    let list = stack.get_as(&user, "/api/reservations").await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
}
