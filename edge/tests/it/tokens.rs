//! The token check at the gate: who passes, and how a refusal is told (RFC 6750, section 3). Rows J03 and J06.

use access_token::Role;
use reqwest::StatusCode;

use crate::edge_process::{Edge, problem_of};
use crate::wire::Wire;

pub(crate) async fn ask(edge: &Edge, path: &str, authorization: &str) -> reqwest::Response {
    edge.client().get(edge.url(path)).header("authorization", authorization).send().await.expect("an answer")
}

/// The answer's challenge.
pub(crate) fn challenge(response: &reqwest::Response) -> &str {
    response.headers()["www-authenticate"].to_str().expect("text")
}

#[tokio::test]
async fn a_good_token_passes_and_goes_on_to_the_backend() {
    let edge = Edge::start().await;
    let authorization = format!("Bearer {}", edge.signer.token(Role::User));
    // Twice: the second time it is remembered.
    for request in 0..2 {
        assert_eq!(ask(&edge, "/api/me", &authorization).await.status(), StatusCode::OK);
        assert_eq!(edge.received()[request].headers["authorization"], authorization.as_str());
    }
}

#[tokio::test]
async fn without_a_token_the_challenge_names_no_error() {
    let edge = Edge::start().await;
    let none = edge.client().get(edge.url("/api/me")).send().await.expect("an answer");
    for response in
        [none, ask(&edge, "/api/me", "Basic eDp5").await, ask(&edge, "/api/me", "Negotiate").await]
    {
        assert_eq!(challenge(&response), r#"Bearer realm="daemun""#);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(problem_of(response).await, "token-missing");
    }
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn what_can_be_no_token_is_refused_as_one() {
    let edge = Edge::start().await;
    let good = edge.signer.token(Role::User);
    for authorization in [
        "Bearer".to_owned(),
        "Bearer a b".to_owned(),
        format!("Bearer {good}, Bearer {good}"),
        "Bearer \u{e9}".to_owned(),
    ] {
        let response = ask(&edge, "/api/me", &authorization).await;
        assert!(challenge(&response).contains(r#"error="invalid_token""#), "{authorization}");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{authorization}");
    }
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_request_that_says_twice_who_it_is_is_malformed() {
    let edge = Edge::start().await;
    let good = format!("Bearer {}", edge.signer.token(Role::User));
    for other in [good.as_str(), "Bearer x", "Basic eDp5", ""] {
        let request = edge.client().get(edge.url("/api/me"));
        let response = request
            .header("authorization", &good)
            .header("authorization", other)
            .send()
            .await
            .expect("an answer");
        assert!(challenge(&response).contains(r#"error="invalid_request""#), "{other}");
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{other}");
        assert_eq!(problem_of(response).await, "bad-request", "{other}");
    }
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_token_in_the_url_is_refused_wherever_tokens_are_looked_at() {
    let edge = Edge::start().await;
    let good = edge.signer.token(Role::User);
    for query in
        [format!("access_token={good}"), format!("a=b&%61ccess%5ftoken={good}"), "access_token".to_owned()]
    {
        for path in ["/api/me", "/api/chat/ws"] {
            for with_header in [false, true] {
                let mut request = edge.client().get(edge.url(&format!("{path}?{query}")));
                if with_header || path.ends_with("ws") {
                    request = request.bearer_auth(&good);
                }
                let response = request.send().await.expect("an answer");
                assert!(challenge(&response).contains(r#"error="invalid_request""#), "{path} {query}");
                assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path} {query}");
            }
        }
    }
    assert!(edge.received().is_empty());
    let public = format!("/api/vendors?access_token={good}");
    assert_eq!(ask(&edge, &public, "").await.status(), StatusCode::OK, "no token is looked at here");
}

#[tokio::test]
async fn a_token_of_a_megabyte_is_not_even_read() {
    let edge = Edge::start().await;
    let mut wire = Wire::open(&edge).await;
    let token = "x".repeat(1 << 20);
    let request = format!(
        "GET /api/me HTTP/1.1\r\nhost: localhost:{}\r\nauthorization: Bearer {token}\r\n\r\n",
        edge.https.port()
    );
    // The edge may hang up before it has taken all of it.
    let _ = wire.send(request).await;
    let rest = wire.rest().await;
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 431"), "{rest}");
    // What a header may hold is refused by the guard, before any work.
    let response = ask(&edge, "/api/me", &format!("Bearer {}", "x".repeat(30_000))).await;
    assert_eq!(problem_of(response).await, "invalid-token");
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_wrong_role_is_forbidden() {
    let edge = Edge::start().await;
    let as_role = |role| format!("Bearer {}", edge.signer.token(role));
    for role in [Role::User, Role::Vendor] {
        let response = ask(&edge, "/admin/api/overview", &as_role(role)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(challenge(&response).contains(r#"error="insufficient_scope""#));
        assert_eq!(problem_of(response).await, "forbidden");
    }
    assert_eq!(ask(&edge, "/admin/api/overview", &as_role(Role::Admin)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_public_route_does_not_look_at_the_token() {
    let edge = Edge::start().await;
    assert_eq!(ask(&edge, "/api/vendors", "Bearer nonsense").await.status(), StatusCode::OK);
}
