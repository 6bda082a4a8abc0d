//! Vendors: lists, pages, their cache.

use std::time::{Duration, Instant};

use backend::write;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixtures::TestVendor;
use crate::harness::{Stack, send};

async fn rename(stack: &Stack, vendor: &TestVendor, name: &str) {
    write!(&stack.db, |pool| {
        let update = sqlx::query("UPDATE vendors SET name = $2 WHERE id = $1").bind(&vendor.id).bind(name);
        update.execute(pool).await.expect("updated");
    });
}

async fn name_of(stack: &Stack, backend: usize, vendor: &TestVendor) -> Value {
    let url = stack.url(backend, &format!("/api/vendors/{}", vendor.id));
    send(stack.http.get(url)).await.expect(200)["name"].clone()
}

#[tokio::test]
async fn a_vendors_page_has_its_services_and_hours() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("머리숲", "미용실").await;
    let service_id = stack.service(&vendor, 3).await;
    let page = stack.get(&format!("/api/vendors/{}", vendor.id)).await.expect(200);
    assert_eq!(
        page,
        json!({
            "id": vendor.id, "name": "머리숲", "category": "미용실", "summary": "summary", "address": "address",
            "time_zone": "UTC", "created_at": "1970-01-01T00:00:00Z",
            "services": [{"id": service_id, "name": "service", "duration_minutes": 60, "step_minutes": 60,
                "price": 10000, "capacity": 3, "buffer_minutes": 0, "lead_minutes": 0, "max_days_ahead": 365,
                "cancel_minutes": 0, "approval": "instant", "resource_id": null, "is_active": true}],
            "hours": {
                "monday": [{"from": "00:00", "to": "00:00"}], "tuesday": [{"from": "00:00", "to": "00:00"}],
                "wednesday": [{"from": "00:00", "to": "00:00"}], "thursday": [{"from": "00:00", "to": "00:00"}],
                "friday": [{"from": "00:00", "to": "00:00"}], "saturday": [{"from": "00:00", "to": "00:00"}],
                "sunday": [{"from": "00:00", "to": "00:00"}],
            },
        })
    );
}

#[tokio::test]
async fn an_unchanged_page_is_not_sent_again() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("머리숲", "미용실").await;
    let path = format!("/api/vendors/{}", vendor.id);
    let first = stack.get(&path).await;
    let etag = first.headers["etag"].clone();

    let again = send(stack.http.get(stack.url(1, &path)).header("if-none-match", &etag)).await;
    assert_eq!(again.status, 304);
    assert_eq!(again.headers["etag"], etag);

    rename(&stack, &vendor, "머리숲 2호점").await;
    stack.redis_cli(&["DEL", &format!("cache:vendor:{}", vendor.id)]);
    let changed = send(stack.request(Method::GET, &path).header("if-none-match", &etag)).await;
    assert_ne!(changed.headers["etag"], etag);
    assert_eq!(changed.expect(200)["name"], "머리숲 2호점");
}

#[tokio::test]
async fn a_page_is_served_from_the_cache_for_a_while_by_every_backend() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("before", "네일").await;
    let key = format!("cache:vendor:{}", vendor.id);
    stack.redis_is_used_by(0).await;
    stack.redis_is_used_by(1).await;
    assert_eq!(name_of(&stack, 0, &vendor).await, "before");
    let ttl: i64 = stack.redis_cli(&["PTTL", &key]).parse().expect("milliseconds");
    assert!((1..=300_000).contains(&ttl), "{ttl}");

    rename(&stack, &vendor, "after").await;
    assert_eq!(name_of(&stack, 1, &vendor).await, "before");
    stack.redis_cli(&["DEL", &key]);
    assert_eq!(name_of(&stack, 1, &vendor).await, "after");
}

#[tokio::test]
async fn without_redis_the_page_comes_from_the_database() {
    let mut stack = Stack::start().await;
    let vendor = stack.open_vendor("before", "네일").await;
    assert_eq!(name_of(&stack, 0, &vendor).await, "before");
    rename(&stack, &vendor, "after").await;
    stack.stop_redis().await;
    assert_eq!(name_of(&stack, 0, &vendor).await, "after");
    stack.start_redis().await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_not_waited_for() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("name", "네일").await;
    stack.redis_cli(&["CLIENT", "PAUSE", "60000", "ALL"]);
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(name_of(&stack, 0, &vendor).await, "name");
        times.push(start.elapsed());
    }
    // The machine may be busy: the quickest tells what Redis cost.
    assert!(times.iter().min() < Some(&Duration::from_millis(600)), "{times:?}");
}

#[tokio::test]
async fn vendors_that_are_none_answer_404() {
    let stack = Stack::start().await;
    for id in ["0190b6a0-1111-7000-8000-000000000000", "not-an-id", "%00", "1"] {
        stack.get(&format!("/api/vendors/{id}")).await.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn the_list_goes_page_by_page_and_shows_each_vendor_once() {
    let stack = Stack::start().await;
    for number in 0..5 {
        stack.open_vendor(&format!("vendor {number}"), "네일").await;
    }
    let (mut names, mut path) = (Vec::new(), "/api/vendors?limit=2".to_owned());
    loop {
        let page = stack.get(&path).await.expect(200);
        let items = page["items"].as_array().expect("items");
        assert!((1..=2).contains(&items.len()));
        names.extend(items.iter().map(|vendor| vendor["name"].as_str().expect("a name").to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/vendors?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["vendor 0", "vendor 1", "vendor 2", "vendor 3", "vendor 4"]);
}

#[tokio::test]
async fn the_list_is_searched_by_text_and_category() {
    let stack = Stack::start().await;
    stack.open_vendor("가위 100% 소리", "미용실").await;
    stack.open_vendor("가위 바위", "미용실").await;
    stack.open_vendor("가위 100점", "네일").await;
    let names = async |query: &[(&str, &str)]| {
        let answer = send(stack.request(Method::GET, "/api/vendors").query(query)).await.expect(200);
        let items = answer["items"].as_array().expect("items").clone();
        items.iter().map(|vendor| vendor["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[("q", "바위")]).await, ["가위 바위"]);
    assert_eq!(names(&[("q", "100%")]).await, ["가위 100% 소리"]);
    assert_eq!(names(&[("q", "가위"), ("category", "네일")]).await, ["가위 100점"]);
    assert_eq!(names(&[("q", ""), ("category", "")]).await.len(), 3);
    assert_eq!(names(&[("category", "치과")]).await.len(), 0);
}

#[tokio::test]
async fn a_list_out_of_bounds_is_refused() {
    let stack = Stack::start().await;
    for (query, status, name) in [
        ("limit=101", 422, "invalid-limit"),
        ("limit=0", 422, "invalid-limit"),
        ("limit=many", 400, "invalid-query"),
        ("limit=-1", 400, "invalid-query"),
        ("cursor=nonsense", 422, "invalid-cursor"),
        ("cursor=", 422, "invalid-cursor"),
    ] {
        stack.get(&format!("/api/vendors?{query}")).await.expect_problem(status, name);
    }
    let search = format!("/api/vendors?q={}", "a".repeat(101));
    stack.get(&search).await.expect_problem(422, "search-too-long");
}
