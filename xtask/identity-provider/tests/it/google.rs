//! Google's issuer: discovery, keys and minted id_tokens.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use identity_provider::{CLIENT_ID, IdentityProvider};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

const BASE_URL: &str = "http://127.0.0.1:9000";

fn provider() -> (Router, TempDir) {
    let keys = tempfile::tempdir().expect("a temporary folder");
    let provider = IdentityProvider::open(keys.path(), BASE_URL).expect("the provider opens");
    (provider.router(), keys)
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.expect("the router always answers");
    let status = response.status();
    let body = response.into_body().collect().await.expect("the body is whole").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("the body is text"))
}

async fn get(router: &Router, path: &str) -> (StatusCode, String) {
    ask(router, Request::get(path).body(Body::empty()).expect("a valid request")).await
}

async fn mint(router: &Router, body: &str) -> (StatusCode, Value) {
    let request = Request::post("/google/mint")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .expect("a valid request");
    let (status, body) = ask(router, request).await;
    (status, serde_json::from_str(&body).expect("every answer is JSON"))
}

/// The claims of a token, verified with the published keys the way a client would.
async fn verify(router: &Router, id_token: &str) -> Value {
    let (_, jwks) = get(router, "/google/jwks.json").await;
    let jwks: JwkSet = serde_json::from_str(&jwks).expect("a JWK Set");
    let kid = decode_header(id_token).expect("a header").kid.expect("a key id");
    let key = DecodingKey::from_jwk(jwks.find(&kid).expect("the key is published")).expect("a usable key");
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[format!("{BASE_URL}/google")]);
    validation.set_audience(&[CLIENT_ID]);
    decode::<Value>(id_token, &key, &validation).expect("the token is valid").claims
}

#[tokio::test]
async fn a_minted_token_verifies_with_the_published_keys() {
    let (router, _keys) = provider();
    let asked = json!({"sub": "ada", "name": "에이다", "email": "ada@example.com", "nonce": "n-1"});
    let (status, answer) = mint(&router, &asked.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let claims = verify(&router, answer["id_token"].as_str().expect("an id_token")).await;
    for (claim, value) in asked.as_object().expect("an object") {
        assert_eq!(&claims[claim], value, "{claim}");
    }
    assert_eq!(claims["email_verified"], true);
    let lifetime = claims["exp"].as_u64().expect("exp") - claims["iat"].as_u64().expect("iat");
    assert_eq!(lifetime, 3600);
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_claimed() {
    let (router, _keys) = provider();
    let (_, answer) = mint(&router, r#"{"sub": "ada", "name": "Ada"}"#).await;
    let claims = verify(&router, answer["id_token"].as_str().expect("an id_token")).await;
    for claim in ["email", "email_verified", "nonce"] {
        assert!(claims.get(claim).is_none(), "{claim}");
    }
}

#[tokio::test]
async fn two_tokens_of_one_user_differ() {
    let (router, _keys) = provider();
    let (_, first) = mint(&router, r#"{"sub": "ada", "name": "Ada"}"#).await;
    let (_, second) = mint(&router, r#"{"sub": "ada", "name": "Ada"}"#).await;
    assert_ne!(first["id_token"], second["id_token"]);
}

#[tokio::test]
async fn the_key_outlives_a_restart() {
    let (router, keys) = provider();
    let (_, before) = get(&router, "/google/jwks.json").await;
    let restarted = IdentityProvider::open(keys.path(), BASE_URL).expect("the provider opens again").router();
    let (_, after) = get(&restarted, "/google/jwks.json").await;
    assert_eq!(before, after);
    assert!(!after.contains(r#""d":"#), "no private part is published");
}

#[tokio::test]
async fn discovery_names_the_issuer_and_its_keys() {
    let (router, _keys) = provider();
    let (status, document) = get(&router, "/google/.well-known/openid-configuration").await;
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(status, StatusCode::OK);
    assert_eq!(document["issuer"], "http://127.0.0.1:9000/google");
    assert_eq!(document["jwks_uri"], "http://127.0.0.1:9000/google/jwks.json");
}

#[tokio::test]
async fn a_request_that_names_no_proper_user_gets_422_and_the_reason() {
    let (router, _keys) = provider();
    let too_long = json!({"sub": "a".repeat(256), "name": "Ada"}).to_string();
    for body in
        [r#"{"sub": "", "name": "Ada"}"#, &too_long, r#"{"name": "Ada"}"#, r#"{"sub": 7, "name": "Ada"}"#]
    {
        let (status, answer) = mint(&router, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer["error"], "invalid_request", "{body}");
        assert!(answer["error_description"].as_str().is_some_and(|text| text.contains("sub")), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_gets_400_and_a_huge_one_413() {
    let (router, _keys) = provider();
    assert_eq!(mint(&router, "{").await.0, StatusCode::BAD_REQUEST);
    let huge = json!({"sub": "ada", "name": "a".repeat(20_000)}).to_string();
    assert_eq!(mint(&router, &huge).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_front_page_says_what_this_is() {
    let (router, _keys) = provider();
    let (status, page) = get(&router, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Development identity provider"));
}
