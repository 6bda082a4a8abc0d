//! Access tokens: published keys, and the check that each backend makes itself.

use access_token::Role;
use serde_json::json;

use crate::harness::{Stack, send};

#[tokio::test]
async fn both_backends_publish_the_same_public_keys() {
    let stack = Stack::start_two().await;
    let jwks = stack.get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(send(stack.http.get(stack.url(1, "/.well-known/jwks.json"))).await.expect(200), jwks);
    let user = stack.user("Alice", Role::User).await;
    let keys = access_token::KeySet::from_jwks(jwks.to_string().as_bytes()).expect("a key set");
    let claims = access_token::Verifier::new("daemun", "daemun").verify(&keys, &user.token).expect("valid");
    assert_eq!(claims.sub, user.id);
    assert!(jwks["keys"][0].get("d").is_none(), "private halves stay here");
}

#[tokio::test]
async fn providers_are_listed_by_id_and_name() {
    let stack = Stack::start().await;
    assert_eq!(
        stack.get("/api/auth/providers").await.expect(200),
        json!([{"id": "google", "name": "Google"}, {"id": "kakao", "name": "Kakao"}])
    );
}

#[tokio::test]
async fn a_route_that_takes_a_user_refuses_whoever_proves_nothing() {
    let stack = Stack::start().await;
    let missing = stack.get("/api/me").await;
    missing.expect_problem(401, "token-missing");
    assert_eq!(missing.headers["www-authenticate"], "Bearer");

    let user = stack.user("Alice", Role::User).await;
    let refresh_token = stack.sign_in("alice").await.refresh_token;
    let id_token = stack.mint("alice", "n").await;
    for wrong in [format!("{}x", user.token), refresh_token, id_token, String::new()] {
        let answer = send(stack.request(reqwest::Method::GET, "/api/me").bearer_auth(&wrong)).await;
        answer.expect_problem(401, "invalid-token");
        assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    }
}

#[tokio::test]
async fn identity_headers_are_not_believed() {
    let stack = Stack::start().await;
    let user = stack.user("Alice", Role::User).await;
    let request = stack.request(reqwest::Method::GET, "/api/me").header("x-user-id", &user.id);
    send(request).await.expect_problem(401, "token-missing");
}
