//! The token check at the gate.

use access_token::Role;
use reqwest::StatusCode;

use crate::edge_process::{Edge, Signer, problem_of};

async fn ask(edge: &Edge, path: &str, authorization: &str) -> reqwest::Response {
    edge.client().get(edge.url(path)).header("authorization", authorization).send().await.expect("an answer")
}

#[tokio::test]
async fn a_good_token_passes_and_goes_on_to_the_backend() {
    let edge = Edge::start().await;
    let authorization = format!("Bearer {}", edge.signer.token(Role::User));
    assert_eq!(ask(&edge, "/api/me", &authorization).await.status(), StatusCode::OK);
    assert_eq!(edge.received()[0].headers["authorization"], authorization.as_str());
}

#[tokio::test]
async fn a_bad_token_is_refused_wherever_it_is_bad() {
    let edge = Edge::start().await;
    let sign = &edge.signer;
    let good = sign.token(Role::User);
    let stranger = Signer::new("key-1");
    let unknown = Signer::new("another");
    let bad = [
        sign.token_with(Role::User, |_, claims| claims.exp -= 1000),
        sign.token_with(Role::User, |_, claims| claims.aud = "another".into()),
        sign.token_with(Role::User, |_, claims| claims.iss = "another".into()),
        sign.token_with(Role::User, |header, _| header.typ = Some("JWT".into())),
        sign.token_with(Role::User, |header, _| header.crit = Some(vec!["x".into()])),
        sign.token_with(Role::User, |header, _| header.kid = None),
        stranger.token(Role::User),
        unknown.token(Role::User),
        good[..good.len() - 2].to_owned(),
        format!("{good}="),
        good.rsplit_once('.').expect("three parts").0.to_owned() + ".",
        "x".repeat(5000),
        "a.b.c".to_owned(),
    ];
    for token in bad {
        let response = ask(&edge, "/api/me", &format!("Bearer {token}")).await;
        let challenge = response.headers()["www-authenticate"].to_str().expect("text");
        assert!(challenge.contains(r#"error="invalid_token""#), "{token}");
        assert_eq!(problem_of(response).await, "invalid-token", "{token}");
    }
    for authorization in ["Basic eDp5", "Bearer", "Bearer a b"] {
        assert_eq!(ask(&edge, "/api/me", authorization).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn admin_routes_ask_for_the_admin_role() {
    let edge = Edge::start().await;
    let as_role = |role| format!("Bearer {}", edge.signer.token(role));
    for role in [Role::User, Role::Vendor] {
        let response = ask(&edge, "/admin/api/overview", &as_role(role)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(problem_of(response).await, "forbidden");
    }
    assert_eq!(ask(&edge, "/admin/api/overview", &as_role(Role::Admin)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_public_route_does_not_look_at_the_token() {
    let edge = Edge::start().await;
    assert_eq!(ask(&edge, "/api/vendors", "Bearer nonsense").await.status(), StatusCode::OK);
}
