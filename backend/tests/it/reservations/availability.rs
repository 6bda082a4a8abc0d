//! What is left to book.

use access_token::Role;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::fixtures::{later, noon};
use crate::harness::Stack;

fn day(moment: Timestamp) -> String {
    moment.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

#[tokio::test]
async fn each_slot_tells_how_many_places_are_left() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 3).await;
    let user = stack.user("user", Role::User).await;
    let body = json!({"service_id": service, "starts_at": noon().to_string(), "party_size": 2});
    stack.post_as(&user, "/api/reservations", body).await.expect(201);

    let date = &noon().to_string()[..10];
    let path = format!("/api/vendors/{}/availability?service_id={service}&from={date}&days=1", vendor.id);
    let slots = stack.get(&path).await.expect(200)["slots"].as_array().expect("slots").clone();
    assert_eq!(slots.len(), 24);
    assert_eq!(
        slots[12],
        json!({"starts_at": noon().to_string(), "ends_at": later(noon(), 1).to_string(), "remaining": 1})
    );
    let others = slots.iter().enumerate().filter(|(hour, _)| *hour != 12);
    assert!(others.into_iter().all(|(_, slot)| slot["remaining"] == 3), "{slots:?}");
}

#[tokio::test]
async fn what_has_begun_is_not_offered() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let path = format!("/api/vendors/{}/availability?service_id={service}", vendor.id);
    let before = Timestamp::now();
    let slots = stack.get(&path).await.expect(200)["slots"].as_array().expect("slots").clone();
    let starts = |slot: &Value| -> Timestamp {
        slot["starts_at"].as_str().expect("a moment").parse().expect("RFC 3339")
    };
    assert!((24 * 6..=24 * 7).contains(&slots.len()), "{}", slots.len());
    assert!(slots.iter().all(|slot| starts(slot) > before));

    let past = day(before - 48.hours());
    let gone = stack.get(&format!("{path}&from={past}&days=1")).await.expect(200);
    assert_eq!(gone, json!({"slots": []}));
}

#[tokio::test]
async fn questions_without_sense_are_refused() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let other = stack.open_vendor("other", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let unknown = "0190b6a0-1111-7000-8000-000000000000";
    for (id, query, status, name) in [
        (vendor.id.as_str(), format!("service_id={service}&days=0"), 422, "invalid-days"),
        (&vendor.id, format!("service_id={service}&days=32"), 422, "invalid-days"),
        (&vendor.id, format!("service_id={service}&days=week"), 400, "invalid-query"),
        (&vendor.id, format!("service_id={service}&from=2026-02-30"), 400, "invalid-query"),
        (&vendor.id, format!("service_id={service}&from=soon"), 400, "invalid-query"),
        (&vendor.id, "service_id=nonsense".to_owned(), 400, "invalid-query"),
        (&vendor.id, "days=8".to_owned(), 422, "invalid-days"),
        (&vendor.id, format!("service_id={unknown}"), 404, "not-found"),
        (&other.id, format!("service_id={service}"), 404, "not-found"),
        (unknown, format!("service_id={service}"), 404, "not-found"),
        ("nonsense", format!("service_id={service}"), 404, "not-found"),
    ] {
        stack.get(&format!("/api/vendors/{id}/availability?{query}")).await.expect_problem(status, name);
    }
    for far in ["9999-12-31", "-009999-01-01"] {
        let path = format!("/api/vendors/{}/availability?service_id={service}&from={far}&days=31", vendor.id);
        stack.get(&path).await.expect(200);
    }
}
