//! Where the keys of tokens come from: rows J04 and J05.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use access_token::Role;
use reqwest::StatusCode;

use crate::edge_process::{Edge, Signer};
use crate::tokens::ask;

/// The policy with limits that a flood doesn't meet.
fn without_limits(config: String) -> String {
    config
        .replace("requests = 100\n", "requests = 1000000\n")
        .replace("requests = 1200\n", "requests = 1000000\n")
}

async fn status(edge: &Edge, token: &str) -> StatusCode {
    ask(edge, "/api/me", &format!("Bearer {token}")).await.status()
}

fn fetches(edge: &Edge) -> usize {
    edge.backends.iter().map(|backend| backend.key_fetches()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_is_capped_and_delays_no_rotation() {
    let edge = Arc::new(Edge::start_with(without_limits).await);
    let stop = Arc::new(AtomicBool::new(false));
    let flood = (0..4).map(|flooder| {
        let (edge, stop) = (Arc::clone(&edge), Arc::clone(&stop));
        tokio::spawn(async move {
            let client = edge.client();
            let mut sent = 0;
            while !stop.load(Ordering::SeqCst) {
                let token = edge.signer.token_with(Role::User, |header, _| {
                    header.kid = Some(format!("invented-{flooder}-{sent}"));
                });
                let response =
                    client.get(edge.url("/api/me")).bearer_auth(token).send().await.expect("an answer");
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                sent += 1;
            }
            sent
        })
    });
    let flood: Vec<_> = flood.collect();
    let (began, before) = (Instant::now(), fetches(&edge));
    edge.wait_until("the flood has led to fetches", async || fetches(&edge) >= before + 3).await;
    let most = began.elapsed().as_secs() as usize + 2;
    assert!(fetches(&edge) - before <= most, "{} fetches in {:?}", fetches(&edge) - before, began.elapsed());

    let next = Signer::new("key-2");
    let both = Signer::jwks_of(&[&edge.signer, &next]);
    edge.backends.iter().for_each(|backend| backend.set_jwks(&both));
    let (published, at_publishing) = (Instant::now(), fetches(&edge));
    let token = next.token(Role::User);
    edge.wait_until("a token of the new key passes", async || status(&edge, &token).await == StatusCode::OK)
        .await;
    // One may have been under way already.
    assert!(fetches(&edge) - at_publishing <= 2, "{} fetches", fetches(&edge) - at_publishing);
    assert!(published.elapsed() < Duration::from_secs(3), "{:?}", published.elapsed());
    stop.store(true, Ordering::SeqCst);
    let mut sent = 0;
    for flooder in flood {
        sent += flooder.await.expect("it ends");
    }
    assert!(sent > 50, "{sent} requests are no flood");
    assert_eq!(status(&edge, &edge.signer.token(Role::User)).await, StatusCode::OK);
}

#[tokio::test]
async fn a_key_that_can_be_none_of_ours_is_not_asked_for() {
    let edge = Edge::start().await;
    let before = fetches(&edge);
    let unlikely =
        |kid: &str| edge.signer.sign(&edge.signer.header("").replace("key-1", kid), &edge.signer.payload());
    for token in [
        unlikely("../key-2"),
        unlikely("' OR 1=1 --"),
        unlikely(&"k".repeat(65)),
        unlikely("key-2").replacen("ey", "eX", 1),
        unlikely("key-2").rsplit_once('.').expect("parts").0.to_owned() + ".x",
        edge.signer.sign(&edge.signer.header("").replace("key-1", "key-2").replace("EdDSA", "HS256"), "{}"),
        edge.signer.sign(&edge.signer.header("").replace("key-1", "key-2").replace("at+jwt", "JWT"), "{}"),
    ] {
        assert_eq!(status(&edge, &token).await, StatusCode::UNAUTHORIZED);
    }
    // A likely one is; by then the others would have been.
    status(&edge, &unlikely("key-2")).await;
    edge.wait_until("the keys are asked for", async || fetches(&edge) > before).await;
    assert_eq!(fetches(&edge), before + 1);
}

#[tokio::test]
async fn a_key_that_has_left_the_set_takes_its_tokens_with_it() {
    let edge = Edge::start_with(|config| config.replace("refresh_seconds = 60", "refresh_seconds = 1")).await;
    let token = edge.signer.token(Role::User);
    assert_eq!(status(&edge, &token).await, StatusCode::OK);
    assert_eq!(status(&edge, &token).await, StatusCode::OK);
    // The name is given to another key.
    let other = Signer::new("key-1");
    edge.backends.iter().for_each(|backend| backend.set_jwks(&other.jwks()));
    edge.wait_until("the token is refused", async || status(&edge, &token).await == StatusCode::UNAUTHORIZED)
        .await;
    assert_eq!(status(&edge, &other.token(Role::User)).await, StatusCode::OK);
}

#[tokio::test]
async fn known_keys_go_on_working_while_their_source_is_down() {
    let edge = Edge::start_with(|config| config.replace("refresh_seconds = 60", "refresh_seconds = 1")).await;
    assert_eq!(edge.metric("edge_token_key_source_up").await, 1.0);
    let published = edge.signer.jwks();
    for broken in
        ["", "{", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"key-1","x":"AAAA"}]}"#]
    {
        edge.backends.iter().for_each(|backend| backend.set_jwks(broken));
        edge.wait_until("a metric says so", async || edge.metric("edge_token_key_source_up").await == 0.0)
            .await;
        // One that is remembered, and one that was never seen.
        for _ in 0..2 {
            assert_eq!(status(&edge, &edge.signer.token(Role::User)).await, StatusCode::OK, "{broken}");
        }
        assert_eq!(status(&edge, &Signer::new("key-1").token(Role::User)).await, StatusCode::UNAUTHORIZED);
        edge.backends.iter().for_each(|backend| backend.set_jwks(&published));
        edge.wait_until("it is up again", async || edge.metric("edge_token_key_source_up").await == 1.0)
            .await;
    }
    assert!(edge.metric("edge_token_key_refresh_failures_total").await >= 4.0);
}
