//! Chat while Redis is gone, and after it is back.

use serde_json::json;

use super::client::{Client, Pair};
use crate::harness::Stack;

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
    // Stored by nobody that publishes.
    let sql = "INSERT INTO messages (room_id, seq, sender, client_id, body, sent_at) VALUES ($1, 1, $2, 'x', 'lost', 0)";
    backend::write!(&stack.db, |pool| {
        sqlx::query(sql).bind(&pair.room).bind(&pair.user.id).execute(pool).await.expect("inserted");
        let sql = "UPDATE rooms SET last_seq = 1 WHERE id = $1";
        sqlx::query(sql).bind(&pair.room).execute(pool).await.expect("updated");
    });
    let mut user = Client::open(&stack, 0, &pair.user).await;
    user.send(&pair.room, "c2", "two").await;
    assert_eq!(owner.hear().await["body"], "lost");
    assert_eq!(owner.hear().await["body"], "two");
    owner.expect_nothing_more().await;
}
