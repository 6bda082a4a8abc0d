//! Tokens that end before their time: what is revoked in Redis is refused at the gate.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use access_token::{REVOCATIONS_CHANNEL, REVOCATIONS_KEY, Revocation, Role};
use reqwest::StatusCode;

use crate::edge_process::Edge;
use crate::redis_process::Redis;
use crate::tokens::{ask, challenge};

async fn edge_with(redis: &Redis) -> Edge {
    Edge::start_with(|config| {
        let line = config.lines().find(|line| line.starts_with("password_file = ")).expect("a password");
        config
            .replace(line, &format!("password_file = \"{}\"", redis.password_file().display()))
            .replace("redis = \"none\"", &format!("redis = \"{}\"", redis.url()))
            .replace("requests = 100\n", "requests = 100000\n")
    })
    .await
}

async fn wait_until_up(edge: &Edge, up: bool) {
    let value = f64::from(u8::from(up));
    edge.wait_until("the feed's state", async || edge.metric("edge_revocation_feed_up").await == value).await;
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// A good token of a session and a user.
fn token_of(edge: &Edge, sid: &str, sub: &str) -> String {
    edge.signer.token_with(Role::User, |_, claims| {
        claims.sid = sid.to_owned();
        claims.sub = sub.to_owned();
    })
}

fn session(id: &str) -> Revocation {
    Revocation::Session { id: id.to_owned() }
}

fn store(redis: &Redis, revocation: &Revocation, at_ms: u64) {
    redis.cli(&["ZADD", REVOCATIONS_KEY, &at_ms.to_string(), &revocation.to_string()]);
}

fn publish(redis: &Redis, revocation: &Revocation) {
    redis.cli(&["PUBLISH", REVOCATIONS_CHANNEL, &revocation.to_string()]);
}

async fn status(edge: &Edge, token: &str) -> StatusCode {
    ask(edge, "/api/me", &format!("Bearer {token}")).await.status()
}

async fn wait_until_refused(edge: &Edge, token: &str) {
    edge.wait_until("the token is refused", async || status(edge, token).await == StatusCode::UNAUTHORIZED)
        .await;
    let response = ask(edge, "/api/me", &format!("Bearer {token}")).await;
    assert!(challenge(&response).contains(r#"error="invalid_token""#));
    assert!(response.text().await.expect("a body").contains("The token has been revoked."));
}

#[tokio::test]
async fn a_session_that_is_revoked_is_refused_within_a_second_though_its_token_is_remembered() {
    let mut redis = Redis::new();
    redis.start();
    let edge = edge_with(&redis).await;
    wait_until_up(&edge, true).await;
    let (ended, other) = (token_of(&edge, "ended", "u"), token_of(&edge, "other", "u"));
    for token in [&ended, &ended, &other] {
        assert_eq!(status(&edge, token).await, StatusCode::OK);
    }
    publish(&redis, &session("ended"));
    let published = Instant::now();
    wait_until_refused(&edge, &ended).await;
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    assert_eq!(status(&edge, &other).await, StatusCode::OK);
    // An unreadable message hurts nobody.
    redis.cli(&["PUBLISH", REVOCATIONS_CHANNEL, "nonsense"]);
    publish(&redis, &session("other"));
    wait_until_refused(&edge, &other).await;
}

#[tokio::test]
async fn all_that_a_user_held_is_refused_and_what_comes_later_is_not() {
    let mut redis = Redis::new();
    redis.start();
    let edge = edge_with(&redis).await;
    wait_until_up(&edge, true).await;
    let held = token_of(&edge, "s1", "gone");
    assert_eq!(status(&edge, &held).await, StatusCode::OK);
    publish(&redis, &Revocation::User { id: "gone".into(), not_before_ms: now_ms() });
    wait_until_refused(&edge, &held).await;
    assert_eq!(status(&edge, &token_of(&edge, "s2", "another")).await, StatusCode::OK);
    let later = edge.signer.token_with(Role::User, |_, claims| {
        claims.sub = "gone".into();
        claims.iat += 2;
    });
    assert_eq!(status(&edge, &later).await, StatusCode::OK);
}

#[tokio::test]
async fn what_was_revoked_while_the_edge_could_not_hear_it_is_learned_afterwards() {
    let mut redis = Redis::new();
    redis.start();
    store(&redis, &session("before"), now_ms() - 60_000);
    store(&redis, &session("long ago"), now_ms() - 3_600_000);
    let edge = edge_with(&redis).await;
    wait_until_up(&edge, true).await;
    wait_until_refused(&edge, &token_of(&edge, "before", "u")).await;
    assert_eq!(status(&edge, &token_of(&edge, "long ago", "u")).await, StatusCode::OK, "no token is as old");

    // Stored without a message, as one that was lost; more than a page of them.
    let silent = token_of(&edge, "silent-0", "u");
    assert_eq!(status(&edge, &silent).await, StatusCode::OK);
    let script =
        "for i = 0, 2999 do redis.call('ZADD', KEYS[1], ARGV[1] + i % 7, 'session:silent-' .. i) end";
    redis.cli(&["EVAL", script, "1", REVOCATIONS_KEY, &(now_ms() - 10_000).to_string()]);
    redis.kill();
    wait_until_up(&edge, false).await;
    assert_eq!(status(&edge, &silent).await, StatusCode::OK, "without Redis the edge goes on");
    wait_until_refused(&edge, &token_of(&edge, "before", "u")).await;
    redis.start();
    wait_until_up(&edge, true).await;
    wait_until_refused(&edge, &silent).await;
    for number in [1, 1023, 1024, 2047, 2048, 2999] {
        wait_until_refused(&edge, &token_of(&edge, &format!("silent-{number}"), "u")).await;
    }
    publish(&redis, &session("afterwards"));
    wait_until_refused(&edge, &token_of(&edge, "afterwards", "u")).await;
}

#[tokio::test]
async fn a_redis_that_says_nothing_counts_as_down() {
    let mut redis = Redis::new();
    redis.start();
    let edge = edge_with(&redis).await;
    wait_until_up(&edge, true).await;
    redis.signal("STOP");
    wait_until_up(&edge, false).await;
    assert_eq!(status(&edge, &token_of(&edge, "s", "u")).await, StatusCode::OK);
    redis.signal("CONT");
    wait_until_up(&edge, true).await;
    publish(&redis, &session("s"));
    wait_until_refused(&edge, &token_of(&edge, "s", "u")).await;
}

#[tokio::test]
async fn without_redis_the_edge_starts_and_learns_when_it_comes() {
    let mut redis = Redis::new();
    let edge = edge_with(&redis).await;
    wait_until_up(&edge, false).await;
    let token = token_of(&edge, "s", "u");
    assert_eq!(status(&edge, &token).await, StatusCode::OK);
    redis.start();
    // As backends do: the edge may have read the set between the two.
    store(&redis, &session("s"), now_ms());
    publish(&redis, &session("s"));
    wait_until_up(&edge, true).await;
    wait_until_refused(&edge, &token).await;
    edge.wait_until("they are counted", async || edge.metric("edge_revocations").await == 1.0).await;
}

#[tokio::test]
async fn where_no_redis_is_named_tokens_count_until_they_end() {
    let edge = Edge::start().await;
    assert!(edge.admin_text("/metrics").await.contains("edge_revocation_feed_up 0"));
    assert_eq!(status(&edge, &edge.signer.token(Role::User)).await, StatusCode::OK);
}

#[tokio::test]
async fn a_redis_that_was_emptied_ends_all_tokens_from_before_within_a_second() {
    let mut redis = Redis::new();
    redis.start();
    let edge = edge_with(&redis).await;
    wait_until_up(&edge, true).await;
    let old = edge.signer.token_with(Role::User, |_, claims| {
        claims.iat -= 2;
        claims.exp -= 2;
    });
    assert_eq!(status(&edge, &old).await, StatusCode::OK);
    redis.cli(&["FLUSHALL"]);
    let emptied = Instant::now();
    wait_until_refused(&edge, &old).await;
    assert!(emptied.elapsed() < Duration::from_secs(1), "{:?}", emptied.elapsed());
    let new = edge.signer.token_with(Role::User, |_, claims| claims.iat += 2);
    assert_eq!(status(&edge, &new).await, StatusCode::OK);
    // A backend's own mark is the last word.
    redis.cli(&["SET", access_token::EPOCH_KEY, &(now_ms() + 1).to_string()]);
    redis.cli(&[
        "PUBLISH",
        REVOCATIONS_CHANNEL,
        &Revocation::All { not_before_ms: now_ms() - 1000 }.to_string(),
    ]);
    assert_eq!(status(&edge, &new).await, StatusCode::OK);
}
