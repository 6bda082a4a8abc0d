//! Chat while Redis is gone, and after it is back.

use std::time::Duration;

use access_token::Role;
use backend::app::App;
use backend::config::Config;
use serde_json::json;

use super::client::{Client, Pair};
use crate::harness::{Stack, eventually};

/// Stores a message as a backend does that ends before it publishes.
async fn store_silently(stack: &Stack, pair: &Pair, seq: i64, body: &str) {
    let sql = "INSERT INTO messages (room_id, seq, sender, client_id, body, sent_at) VALUES ($1, $2, $3, $4, $4, 0)";
    backend::write!(&stack.db, |pool| {
        let insert = sqlx::query(sql).bind(&pair.room).bind(seq).bind(&pair.user.id).bind(body);
        insert.execute(pool).await.expect("inserted");
    });
    count_up_to(stack, pair, seq).await;
}

/// The room counts up to `seq`, whatever is stored.
async fn count_up_to(stack: &Stack, pair: &Pair, seq: i64) {
    let sql = "UPDATE rooms SET last_seq = $1 WHERE id = $2";
    backend::write!(&stack.db, |pool| {
        sqlx::query(sql).bind(seq).bind(&pair.room).execute(pool).await.expect("updated");
    });
}

#[tokio::test]
async fn without_redis_messages_pass_within_a_backend_and_history_is_there() {
    let mut stack = Stack::start().await;
    let pair = Pair::new(&stack).await;
    let mut before = Client::open(&stack, 0, &pair.user).await;
    let ticket = stack.post_as(&pair.user, "/api/chat/ws-ticket", json!({})).await.expect(200);
    stack.stop_redis().await;
    let mut after = Client::open(&stack, 0, &pair.owner).await;
    before.send(&pair.room, "c1", "still here").await;
    assert_eq!(before.hear_type("ack").await["seq"], 1);
    assert_eq!(after.hear().await["body"], "still here");
    let path = format!("/api/chat/rooms/{}/messages", pair.room);
    assert_eq!(stack.get_as(&pair.owner, &path).await.expect(200)["items"][0]["body"], "still here");
    // That a ticket is used once can't be known now.
    let ticket = ticket["ticket"].as_str().expect("a ticket");
    assert_eq!(Client::open_by_ticket(&stack, 0, ticket).await.err(), Some(503));
}

#[tokio::test]
async fn what_was_said_while_redis_was_gone_is_delivered_once_it_is_back() {
    let mut stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let mut user = Client::open(&stack, 0, &pair.user).await;
    let mut owner = Client::open(&stack, 1, &pair.owner).await;
    user.send(&pair.room, "c1", "one").await;
    assert_eq!(user.hear_type("ack").await["seq"], 1);
    assert_eq!(owner.hear().await["seq"], 1);
    stack.stop_redis().await;
    for n in 2..=4 {
        user.send(&pair.room, &format!("c{n}"), "into the void").await;
        assert_eq!(user.hear_type("ack").await["seq"], n);
    }
    stack.start_redis().await;
    for seq in 2..=4 {
        assert_eq!(owner.hear().await["seq"], seq);
    }
    user.send(&pair.room, "c5", "five").await;
    assert_eq!(owner.hear().await["seq"], 5);
    owner.expect_nothing_more().await;
}

#[tokio::test]
async fn a_number_that_was_skipped_on_the_bus_is_read_from_the_database() {
    let stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let mut owner = Client::open(&stack, 1, &pair.owner).await;
    store_silently(&stack, &pair, 1, "lost").await;
    let mut user = Client::open(&stack, 0, &pair.user).await;
    user.send(&pair.room, "c2", "two").await;
    assert_eq!(owner.hear().await["body"], "lost");
    assert_eq!(owner.hear().await["body"], "two");
    owner.expect_nothing_more().await;
}

#[tokio::test]
async fn while_redis_is_gone_messages_pass_between_backends_through_the_database() {
    let mut stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let mut user = Client::open(&stack, 0, &pair.user).await;
    let mut owner = Client::open(&stack, 1, &pair.owner).await;
    stack.stop_redis().await;
    for n in 1..=3 {
        user.send(&pair.room, &format!("c{n}"), "slow, and there").await;
        assert_eq!(owner.hear().await["seq"], n);
    }
    owner.expect_nothing_more().await;
}

#[tokio::test]
async fn a_message_that_was_not_published_is_made_up_for_under_steady_traffic() {
    let stack = Stack::start_two().await;
    let (pair, busy) = (Pair::new(&stack).await, Pair::new(&stack).await);
    let mut user = Client::open(&stack, 0, &pair.user).await;
    let mut owner = Client::open(&stack, 1, &pair.owner).await;
    let mut chatterer = Client::open(&stack, 0, &busy.user).await;
    user.send(&pair.room, "c1", "heard").await;
    assert_eq!(owner.hear().await["seq"], 1);

    stack.redis_cli(&["ACL", "SETUSER", "default", "-publish"]);
    user.send(&pair.room, "c2", "unheard").await;
    eventually("publishing was refused", async || {
        let stats = stack.redis_cli(&["INFO", "commandstats"]);
        let publish = stats.lines().find(|line| line.starts_with("cmdstat_publish:"));
        publish.is_some_and(|line| !line.trim_end().contains("rejected_calls=0"))
    })
    .await;
    stack.redis_cli(&["ACL", "SETUSER", "default", "+publish"]);
    let chatter = async {
        for n in 0.. {
            chatterer.send(&busy.room, &format!("c{n}"), "steady").await;
            chatterer.hear_type("ack").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = chatter => {}
        heard = owner.hear() => assert_eq!(heard["body"], "unheard"),
    }
}

#[tokio::test]
async fn what_a_backend_acked_before_it_stopped_is_heard_by_the_others() {
    let mut stack = Stack::start_two().await;
    let pair = Pair::new(&stack).await;
    let mut user = Client::open(&stack, 0, &pair.user).await;
    let mut owner = Client::open(&stack, 1, &pair.owner).await;
    user.send(&pair.room, "c1", "first").await;
    assert_eq!(user.hear_type("ack").await["seq"], 1);
    assert_eq!(owner.hear().await["seq"], 1);
    // What is published waits in the backend meanwhile.
    stack.redis_cli(&["CLIENT", "PAUSE", "900", "WRITE"]);
    for n in 2..=4 {
        user.send(&pair.room, &format!("c{n}"), "last words").await;
        assert_eq!(user.hear_type("ack").await["seq"], n);
    }
    stack.take_backend(0).stop().await;
    for seq in 2..=4 {
        assert_eq!(owner.hear().await["seq"], seq);
    }
}

#[tokio::test]
async fn a_backend_that_starts_makes_up_for_what_its_predecessor_did_not_publish() {
    let stack = Stack::start().await;
    let pair = Pair::new(&stack).await;
    let mut owner = Client::open(&stack, 0, &pair.owner).await;
    store_silently(&stack, &pair, 1, "stored, and not told").await;
    let config = Config::load(&stack.folder().join("config/backend.toml")).expect("valid");
    let successor = App::start(config).await.expect("started");
    assert_eq!(owner.hear().await["body"], "stored, and not told");
    successor.stop().await;
}

#[tokio::test]
async fn numbers_that_no_message_has_hold_nothing_up() {
    let stack = Stack::start_two().await;
    let owner = stack.user("Owner", Role::Vendor).await;
    let (hollow, sound) = (Pair::with_owner(&stack, &owner).await, Pair::with_owner(&stack, &owner).await);
    let mut listener = Client::open(&stack, 1, &owner).await;
    let mut user = Client::open(&stack, 0, &hollow.user).await;
    count_up_to(&stack, &hollow, 5).await;
    user.send(&hollow.room, "c6", "six").await;
    assert_eq!(listener.hear().await["seq"], 6);
    count_up_to(&stack, &hollow, 9).await;
    for seq in 1..=2 {
        store_silently(&stack, &sound, seq, &format!("silent {seq}")).await;
    }
    let mut user = Client::open(&stack, 0, &sound.user).await;
    user.send(&sound.room, "c3", "three").await;
    for seq in 1..=3 {
        assert_eq!(listener.hear().await["seq"], seq);
    }
    listener.expect_nothing_more().await;
}
