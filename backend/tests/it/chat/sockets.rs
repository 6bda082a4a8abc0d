//! Sockets: sending, receiving, syncing, and their ends.

use std::time::Duration;

use access_token::Role;
use backend::auth::keys::SigningKeys;
use backend::auth::tokens::AccessTokens;
use backend::clock::EpochMillis;
use backend::config::Config;
use futures_util::SinkExt as _;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, Pair};
use crate::harness::{Stack, TestUser, send};

/// An access token of `user` that ends after `seconds`; the session too.
fn short_token(stack: &Stack, user: &TestUser, session: &str, seconds: u64) -> TestUser {
    let mut config = Config::load(&stack.folder().join("config/backend.toml")).expect("valid").tokens;
    config.access = Duration::from_secs(seconds);
    let tokens =
        AccessTokens::new(&config, SigningKeys::load(&config.keys_dir, config.key_schedule()).expect("keys"));
    TestUser {
        id: user.id.clone(),
        token: tokens.issue(&user.id, session, Role::User, EpochMillis::now()).expect("signed"),
    }
}

#[tokio::test]
async fn a_message_reaches_every_socket_of_both_members_on_both_backends() {
    let stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let mut sender = Client::open(&stack, 0, &pair.user).await;
    let mut others = vec![
        Client::open(&stack, 1, &pair.user).await,
        Client::open(&stack, 0, &pair.owner).await,
        Client::open(&stack, 1, &pair.owner).await,
    ];
    sender.send(&pair.room, "c1", "안녕하세요").await;
    assert_eq!(sender.hear().await, json!({"type": "ack", "room": pair.room, "client_id": "c1", "seq": 1}));
    let message = sender.hear().await;
    assert_eq!((&message["type"], &message["body"]), (&json!("message"), &json!("안녕하세요")));
    assert_eq!(message["sender"], *pair.user.id);
    for client in &mut others {
        assert_eq!(client.hear().await, message);
    }
    others[2].send(&pair.room, "c1", "네").await;
    for client in others.iter_mut().chain([&mut sender]) {
        assert_eq!(client.hear_type("message").await["seq"], 2);
        client.expect_nothing_more().await;
    }
}

#[tokio::test]
async fn a_message_sent_again_is_acked_again_and_told_once() {
    let stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let mut first = Client::open(&stack, 0, &pair.user).await;
    let mut second = Client::open(&stack, 1, &pair.user).await;
    let mut owner = Client::open(&stack, 0, &pair.owner).await;
    first.send(&pair.room, "same", "once").await;
    assert_eq!(first.hear_type("ack").await["seq"], 1);
    second.send(&pair.room, "same", "twice").await;
    assert_eq!(second.hear_type("ack").await["seq"], 1);
    // The owner's own client_id may be the same.
    owner.send(&pair.room, "same", "mine").await;
    assert_eq!(owner.hear().await["body"], "once");
    assert_eq!(owner.hear().await["seq"], 2);
    assert_eq!(owner.hear().await["body"], "mine");
    owner.expect_nothing_more().await;
}

#[tokio::test]
async fn numbers_have_no_gap_however_many_write_at_once() {
    let stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let mut reader = Client::open(&stack, 1, &pair.owner).await;
    let writers = (0..6).map(|n| {
        let (stack, pair) = (&stack, &pair);
        async move {
            let mut client = Client::open(stack, n % 2, &pair.user).await;
            for i in 0..10 {
                client.send(&pair.room, &format!("{n}-{i}"), "x").await;
                client.hear_type("ack").await;
            }
        }
    });
    futures_util::future::join_all(writers).await;
    for seq in 1..=60 {
        assert_eq!(reader.hear().await["seq"], seq);
    }
    reader.expect_nothing_more().await;
}

#[tokio::test]
async fn a_sync_brings_what_was_missed_and_says_where_it_ends() {
    let stack = Stack::start().await;
    let pair = Pair::new(&stack).await;
    let mut user = Client::open(&stack, 0, &pair.user).await;
    for n in 1..=120 {
        user.send(&pair.room, &n.to_string(), &"m".repeat(2000)).await;
        user.hear_type("ack").await;
    }
    let mut owner = Client::open(&stack, 0, &pair.owner).await;
    owner.say(json!({"type": "sync", "room": pair.room, "after_seq": 3})).await;
    for seq in 4..=103 {
        assert_eq!(owner.hear().await["seq"], seq);
    }
    assert_eq!(
        owner.hear().await,
        json!({"type": "synced", "room": pair.room, "up_to_seq": 103, "more": true})
    );
    owner.say(json!({"type": "sync", "room": pair.room, "after_seq": 120})).await;
    assert_eq!(
        owner.hear().await,
        json!({"type": "synced", "room": pair.room, "up_to_seq": 120, "more": false})
    );
    owner.say(json!({"type": "sync", "room": "nothing", "after_seq": 0})).await;
    assert_eq!(owner.hear().await["problem"]["status"], 404);
}

#[tokio::test]
async fn what_cannot_be_sent_is_an_error_that_names_it() {
    let stack = Stack::start().await;
    let pair = Pair::new(&stack).await;
    let mut client = Client::open(&stack, 0, &pair.user).await;
    for (room, client_id, body, status) in [
        (pair.room.as_str(), "c1", String::new(), 422),
        (&pair.room, "c2", "x".repeat(4001), 422),
        (&pair.room, "", "x".to_owned(), 422),
        ("nothing", "c3", "x".to_owned(), 404),
    ] {
        client.send(room, client_id, &body).await;
        let error = client.hear().await;
        assert_eq!(error["type"], "error");
        assert_eq!((&error["problem"]["status"], &error["client_id"]), (&json!(status), &json!(client_id)));
    }
    client.send(&pair.room, "c4", &"가".repeat(4000)).await;
    assert_eq!(client.hear_type("ack").await["seq"], 1);
    client.hear_type("message").await;
    // The longest form in which JSON may write a message.
    let frame = json!({"type": "send", "room": pair.room, "client_id": "c5", "body": "BODY"}).to_string();
    client.0.send(Message::text(frame.replace("BODY", &r"\ud83d\ude00".repeat(4000)))).await.expect("sent");
    assert_eq!(client.hear_type("ack").await["seq"], 2);
    client.hear_type("message").await;

    let stranger = stack.user("Mallory", Role::User).await;
    let mut stranger = Client::open(&stack, 0, &stranger).await;
    stranger.send(&pair.room, "c1", "let me in").await;
    assert_eq!(stranger.hear().await["problem"]["status"], 404);

    client.0.send(Message::text("{")).await.expect("sent");
    assert_eq!(client.hear().await["problem"]["type"], "/problems/malformed-frame");
    client.expect_nothing_more().await;
    client.0.send(Message::binary(vec![1])).await.expect("sent");
    assert_eq!(client.close_code().await, 1003);
}

#[tokio::test]
async fn a_ticket_opens_one_socket() {
    let stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let answer = stack.post_as(&pair.user, "/api/chat/ws-ticket", json!({})).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.expect(200);
    assert_eq!(body["expires_in"], 30);
    let ticket = body["ticket"].as_str().expect("a ticket");
    let mut client = Client::open_by_ticket(&stack, 1, ticket).await.expect("opened");
    client.send(&pair.room, "c1", "hello").await;
    assert_eq!(client.hear_type("ack").await["seq"], 1);
    assert_eq!(Client::open_by_ticket(&stack, 0, ticket).await.err(), Some(401));
    assert_eq!(Client::open_by_ticket(&stack, 0, "invented").await.err(), Some(401));
    // A plain request is told what to do.
    stack.get_as(&pair.user, "/api/chat/ws").await.expect_problem(426, "upgrade-required");
}

#[tokio::test]
async fn a_socket_ends_with_its_token_unless_that_is_renewed() {
    let stack = Stack::start().await;
    let alice = stack.user("Alice", Role::User).await;
    let short = short_token(&stack, &alice, "s", 2);
    let mut unrenewed = Client::open(&stack, 0, &short).await;
    let mut renewed = Client::open(&stack, 0, &short).await;

    let other_session = short_token(&stack, &alice, "another", 900).token;
    renewed.say(json!({"type": "renew", "access_token": other_session})).await;
    assert_eq!(renewed.hear().await["problem"]["status"], 401);
    let longer = short_token(&stack, &alice, "s", 900).token;
    renewed.say(json!({"type": "renew", "access_token": longer})).await;

    assert_eq!(unrenewed.close_code().await, 4001);
    renewed.expect_nothing_more().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let stack = Stack::start().await;
    let pair = Pair::new(&stack).await;
    let mut lazy = Client::open(&stack, 0, &pair.owner).await;
    let mut sender = Client::open(&stack, 0, &pair.user).await;
    // More than its queue and the kernel's buffers hold.
    for n in 0..600 {
        sender.send(&pair.room, &n.to_string(), &"가".repeat(4000)).await;
        sender.hear_type("ack").await;
    }
    // Its code waits behind all that was not read, and the server doesn't wait for it long.
    assert!(matches!(lazy.end().await, Some(4008) | None));
}

#[tokio::test]
async fn a_full_backend_refuses_sockets_for_now() {
    let stack = Stack::with_config(1, |config| config["chat"]["max_connections"] = 1.into()).await;
    let alice = stack.user("Alice", Role::User).await;
    let client = Client::open(&stack, 0, &alice).await;
    let url = stack.url(0, "/api/chat/ws");
    let upgrade = || {
        let request = stack.http.get(&url).bearer_auth(&alice.token);
        let request = request.header("connection", "upgrade").header("upgrade", "websocket");
        request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let refused = send(upgrade()).await;
    refused.expect_problem(503, "unavailable");
    assert!(refused.headers.contains_key("retry-after"));
    drop(client);
    crate::harness::eventually("a place is free", async || {
        upgrade().send().await.expect("an answer").status() == 101
    })
    .await;
}

#[tokio::test]
async fn sockets_of_a_backend_that_stops_are_told_to_reconnect() {
    let mut stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let mut client = Client::open(&stack, 0, &pair.user).await;
    let stop = tokio::spawn(stack.take_backend(0).stop());
    let told = client.hear().await;
    assert_eq!(told["type"], "reconnect");
    assert!(told["after_ms"].as_u64().is_some_and(|ms| ms < 5000), "{told}");
    assert_eq!(client.close_code().await, 1012);
    stop.await.expect("stopped");
}
