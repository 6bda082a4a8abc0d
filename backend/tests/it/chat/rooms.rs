//! Rooms and history over HTTP.

use access_token::Role;
use serde_json::{Value, json};

use super::client::{Client, Pair};
use crate::harness::Stack;

#[tokio::test]
async fn a_user_and_a_vendor_have_one_room() {
    let stack = Stack::start().await;
    let pair = Pair::new(&stack).await;
    let again = stack.post_as(&pair.user, "/api/chat/rooms", json!({"vendor_id": pair.vendor})).await;
    assert_eq!(again.expect(200)["id"], *pair.room);
    for member in [&pair.user, &pair.owner] {
        let rooms = stack.get_as(member, "/api/chat/rooms").await.expect(200);
        assert_eq!(rooms["items"][0]["id"], *pair.room);
        assert_eq!(rooms["items"][0]["vendor_name"], "Hair");
        assert_eq!(rooms["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(rooms["items"][0]["last_message"], Value::Null);
    }
}

#[tokio::test]
async fn rooms_with_nobody_or_with_oneself_are_not_opened() {
    let stack = Stack::start().await;
    let pair = Pair::new(&stack).await;
    let open =
        async |user, vendor: &str| stack.post_as(user, "/api/chat/rooms", json!({"vendor_id": vendor})).await;
    open(&pair.user, "no-vendor").await.expect_problem(422, "unknown-vendor");
    open(&pair.owner, &pair.vendor).await.expect_problem(422, "own-vendor");
    stack
        .post("/api/chat/rooms", json!({"vendor_id": pair.vendor}))
        .await
        .expect_problem(401, "token-missing");
}

#[tokio::test]
async fn rooms_are_listed_page_by_page() {
    let stack = Stack::start().await;
    let user = stack.user("Alice", Role::User).await;
    for n in 0..5 {
        let vendor = stack.vendor(&format!("V{n}"), None).await;
        stack.post_as(&user, "/api/chat/rooms", json!({"vendor_id": vendor})).await.expect(201);
    }
    let (mut names, mut path) = (Vec::new(), "/api/chat/rooms?limit=2".to_owned());
    loop {
        let page = stack.get_as(&user, &path).await.expect(200);
        for room in page["items"].as_array().expect("a list") {
            names.push(room["vendor_name"].as_str().expect("a name").to_owned());
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/chat/rooms?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["V4", "V3", "V2", "V1", "V0"]);
    stack.get_as(&user, "/api/chat/rooms?limit=101").await.expect_problem(422, "invalid-limit");
    stack.get_as(&user, "/api/chat/rooms?limit=x").await.expect_problem(400, "invalid-query");
}

#[tokio::test]
async fn history_is_read_from_both_ends_by_members_only() {
    let stack = Stack::start().await;
    let pair = Pair::new(&stack).await;
    let mut client = Client::open(&stack, 0, &pair.user).await;
    for n in 1..=5 {
        client.send(&pair.room, &format!("c{n}"), &format!("m{n}")).await;
        assert_eq!(client.hear_type("ack").await["seq"], n);
    }
    let path = format!("/api/chat/rooms/{}/messages", pair.room);
    let read = async |query: &str| {
        let page = stack.get_as(&pair.owner, &format!("{path}{query}")).await.expect(200);
        let seqs: Vec<i64> =
            page["items"].as_array().expect("a list").iter().filter_map(|m| m["seq"].as_i64()).collect();
        (seqs, page["next_cursor"].clone())
    };
    assert_eq!(read("").await, (vec![1, 2, 3, 4, 5], Value::Null));
    let page = read("?limit=2").await;
    assert_eq!(page.0, [4, 5]);
    let before = page.1.as_str().expect("a cursor").to_owned();
    let page = read(&format!("?limit=2&cursor={before}")).await;
    assert_eq!(page.0, [2, 3]);
    let before_it = page.1.as_str().expect("a cursor");
    assert_eq!(read(&format!("?limit=2&cursor={before_it}")).await, (vec![1], Value::Null));
    assert_eq!(read("?limit=2&before_seq=4").await.0, [2, 3]);
    assert_eq!(read("?limit=2&before_seq=2").await, (vec![1], Value::Null));
    let page = read("?limit=2&after_seq=1").await;
    assert_eq!(page.0, [2, 3]);
    let after = page.1.as_str().expect("a cursor");
    assert_eq!(read(&format!("?limit=2&cursor={after}")).await, (vec![4, 5], Value::Null));
    assert_eq!(read("?after_seq=5").await, (vec![], Value::Null));

    for (query, name) in [
        ("after_seq=1&before_seq=2", "invalid-query"),
        (&format!("before_seq=2&cursor={before}"), "invalid-query"),
        ("cursor=4", "invalid-cursor"),
    ] {
        stack.get_as(&pair.user, &format!("{path}?{query}")).await.expect_problem(422, name);
    }
    let stranger = stack.user("Mallory", Role::Admin).await;
    stack.get_as(&stranger, &path).await.expect_problem(404, "not-found");
    stack.get_as(&pair.user, "/api/chat/rooms/nothing/messages").await.expect_problem(404, "not-found");

    let rooms = stack.get_as(&pair.user, "/api/chat/rooms").await.expect(200);
    assert_eq!(rooms["items"][0]["last_message"]["body"], "m5");
}
