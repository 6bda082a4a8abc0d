//! What a service asks of a booking: resources, buffers, lead times.

use access_token::Role;
use jiff::{Timestamp, ToSpan as _, Unit};
use serde_json::{Value, json};

use super::{book, count, text};
use crate::fixtures::{later, noon};
use crate::harness::Stack;
use reqwest::StatusCode;

#[tokio::test]
async fn services_of_one_resource_exclude_each_other_and_share_it_with_themselves() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "필라테스").await;
    let services = stack.services_of_one_resource(&vendor, &[3, 1]).await;
    let user = stack.user("user", Role::User).await;
    let at =
        |service: &str, hours| json!({"service_id": service, "starts_at": later(noon(), hours).to_string()});
    book(&stack, 0, &user, at(&services[0], 0)).await.expect(201);
    book(&stack, 1, &user, at(&services[0], 0)).await.expect(201);
    book(&stack, 1, &user, at(&services[1], 0)).await.expect_problem(409, "slot-taken");
    book(&stack, 1, &user, at(&services[1], 1)).await.expect(201);
    book(&stack, 0, &user, at(&services[0], 1)).await.expect_problem(409, "slot-taken");

    let date = &noon().to_string()[..10];
    let path = format!("/api/vendors/{}/availability?from={date}&days=1", vendor.id);
    let all = stack.get(&path).await.expect(200);
    let remaining = |service: &str| -> Vec<Value> {
        let services = all["services"].as_array().expect("services");
        let found = services.iter().find(|one| one["service_id"] == service).expect("the service");
        found["slots"].as_array().expect("slots")[12..15]
            .iter()
            .map(|slot| slot["remaining"].clone())
            .collect()
    };
    assert_eq!(remaining(&services[0]), [json!(1), json!(0), json!(3)]);
    assert_eq!(remaining(&services[1]), [json!(0), json!(0), json!(1)]);
}

#[tokio::test]
async fn of_many_who_want_one_resource_for_different_services_one_gets_it() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let services = stack.services_of_one_resource(&vendor, &[1, 1, 1, 1]).await;
    let mut users = Vec::new();
    for number in 0..40 {
        users.push(stack.user(&format!("user {number}"), Role::User).await);
    }
    let attempts = users.iter().enumerate().map(|(number, user)| {
        let body = json!({"service_id": services[number % 4], "starts_at": noon().to_string()});
        book(&stack, number % 2, user, body)
    });
    let answers = futures_util::future::join_all(attempts).await;
    assert_eq!(count(&answers, StatusCode::CREATED), 1);
    assert_eq!(count(&answers, StatusCode::CONFLICT), 39);
}

#[tokio::test]
async fn a_buffer_is_kept_free_on_both_sides() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    stack.set_service(&service, "buffer_minutes = 15, step_minutes = 30").await;
    let user = stack.user("user", Role::User).await;
    let at = |minutes: i64| {
        let starts_at = Timestamp::from_millisecond(noon().0).expect("a moment") + minutes.minutes();
        json!({"service_id": service, "starts_at": starts_at.to_string()})
    };
    book(&stack, 0, &user, at(0)).await.expect(201);
    for taken in [-60, 60, 30] {
        book(&stack, 0, &user, at(taken)).await.expect_problem(409, "slot-taken");
    }
    book(&stack, 0, &user, at(90)).await.expect(201);
    book(&stack, 0, &user, at(-90)).await.expect(201);
    let date = &noon().to_string()[..10];
    let path = format!("/api/vendors/{}/availability?service_id={service}&from={date}&days=1", vendor.id);
    let slots = stack.get(&path).await.expect(200)["slots"].as_array().expect("slots").clone();
    let full = slots
        .iter()
        .filter(|slot| slot["remaining"] == 0)
        .map(|slot| text(slot, "starts_at")[11..16].to_owned());
    let expected: Vec<String> = (1..12).map(|n| format!("{:02}:{:02}", 9 + n / 2, n % 2 * 30)).collect();
    // 09:00 and its buffer end at 10:15, when that of 10:30 begins.
    assert_eq!(full.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_service_is_booked_in_its_window_only() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let user = stack.user("user", Role::User).await;
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    for (columns, name) in [
        ("lead_minutes = 7 * 24 * 60", "too-soon"),
        ("lead_minutes = 0, max_days_ahead = 1", "too-far-ahead"),
    ] {
        stack.set_service(&service, columns).await;
        book(&stack, 0, &user, body.clone()).await.expect_problem(422, name);
        let date = &noon().to_string()[..10];
        let path = format!("/api/vendors/{}/availability?service_id={service}&from={date}&days=1", vendor.id);
        assert_eq!(stack.get(&path).await.expect(200), json!({"slots": []}));
    }
    stack.set_service(&service, "max_days_ahead = 2").await;
    book(&stack, 0, &user, body.clone()).await.expect(201);
    stack.set_service(&service, "is_active = FALSE").await;
    book(&stack, 0, &user, body).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_day_of_berlin_has_the_hours_that_its_clock_shows() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let sql = "UPDATE vendors SET time_zone = 'Europe/Berlin' WHERE id = $1";
    stack.execute(sql, &[&vendor.id]).await;
    let service = stack.service(&vendor, 1).await;
    stack.set_service(&service, "max_days_ahead = 730").await;
    let berlin = jiff::tz::TimeZone::get("Europe/Berlin").expect("a bundled zone");
    let today = Timestamp::now().to_zoned(berlin.clone()).round(Unit::Day).expect("a near day").date();
    let mut lengths = Vec::new();
    // A year from now on has one day of 23 hours and one of 25.
    let days = (1..=366).map(|offset| today.checked_add(offset.days()).expect("a near day"));
    let changed = days.filter(|day| {
        let hours = |date: jiff::civil::Date| date.to_zoned(berlin.clone()).expect("a near day").timestamp();
        let length = hours(day.tomorrow().expect("a near day")).duration_since(hours(*day)).as_hours();
        length != 24
    });
    for day in changed {
        let path = format!("/api/vendors/{}/availability?service_id={service}&from={day}&days=1", vendor.id);
        lengths.push(stack.get(&path).await.expect(200)["slots"].as_array().expect("slots").len());
    }
    lengths.sort_unstable();
    assert_eq!(lengths, [23, 25]);
}
