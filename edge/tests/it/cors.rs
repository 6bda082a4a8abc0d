//! Pages of other sites: what a browser is told before it asks, and what the answer says.

use crate::asking::{HERE, THERE, ask, edge_with};
use crate::edge_process::Edge;
use crate::wire::Answer;

const ROUTES: &str = r#"
[[routes]]
below = "/shared"
upstream = "backend"
token = "required"
[[routes]]
below = "/shared"
methods = ["GET", "PUT"]
token = "required"
upstream = "backend"
cors = { origins = ["https://shop.example"], methods = ["GET", "PUT"], headers = ["Authorization", "content-type"], credentials = true, max_age_seconds = 600 }
[[routes]]
below = "/open"
upstream = "backend"
cors = { origins = ["*"], methods = ["GET"], max_age_seconds = 60 }
[[routes]]
below = "/closed"
allow = ["127.0.0.1/32"]
limits = ["login"]
upstream = "backend"
cors = { origins = ["https://shop.example"], methods = ["GET"], max_age_seconds = 60 }
"#;

async fn preflight(edge: &Edge, from: [u8; 4], path: &str, fields: &[&str]) -> Answer {
    ask(edge, from, "localhost", &format!("OPTIONS {path}"), fields).await
}

const SHOP: &str = "Origin: https://shop.example";

#[tokio::test]
async fn a_preflight_is_answered_at_the_edge_without_a_token() {
    let edge = edge_with(ROUTES).await;
    let asks = [SHOP, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization"];
    let answer = preflight(&edge, HERE, "/shared/x", &asks).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    for (name, value) in [
        ("access-control-allow-origin", "https://shop.example"),
        ("access-control-allow-methods", "get, put"),
        ("access-control-allow-headers", "authorization, content-type"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
        ("vary", "origin, access-control-request-method, access-control-request-headers"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.value(name), value, "{name}");
    }
    assert_eq!(answer.value("x-request-id").len(), 36);
    let anybody =
        preflight(&edge, HERE, "/open", &["Origin: null", "Access-Control-Request-Method: GET"]).await;
    assert_eq!((anybody.status, anybody.value("access-control-allow-origin")), (204, "*"));
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_preflight_for_more_than_is_allowed_is_refused() {
    let edge = edge_with(ROUTES).await;
    for asks in [
        vec!["Origin: https://evil.example", "Access-Control-Request-Method: GET"],
        vec!["Origin: https://shop.example.evil.example", "Access-Control-Request-Method: GET"],
        vec!["Origin: http://shop.example", "Access-Control-Request-Method: GET"],
        vec!["Origin: null", "Access-Control-Request-Method: GET"],
        vec![SHOP, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-other"],
    ] {
        let answer = preflight(&edge, HERE, "/shared", &asks).await;
        assert_eq!(answer.status, 403, "{asks:?}");
        assert!(answer.body.contains("/problems/cross-origin-refused"), "{answer:?}");
        assert_eq!(answer.value("access-control-allow-origin"), "", "{asks:?}");
    }
    // Of DELETE no route with `cors` speaks, and an OPTIONS without an announcement is one like any other: both need a
    // token.
    for asks in [vec![SHOP, "Access-Control-Request-Method: DELETE"], vec![SHOP]] {
        assert_eq!(preflight(&edge, HERE, "/shared", &asks).await.status, 401, "{asks:?}");
    }
    // So does what only looks like a preflight.
    let get = ["Access-Control-Request-Method: GET", SHOP];
    assert_eq!(ask(&edge, HERE, "localhost", "GET /shared", &get).await.status, 401);
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn addresses_and_their_limits_stand_before_a_preflight() {
    let edge = edge_with(ROUTES).await;
    let asks = [SHOP, "Access-Control-Request-Method: GET"];
    assert_eq!(preflight(&edge, THERE, "/closed", &asks).await.status, 403);
    for turn in 0..10 {
        assert_eq!(preflight(&edge, HERE, "/closed", &asks).await.status, 204, "turn {turn}");
    }
    assert_eq!(preflight(&edge, HERE, "/closed", &asks).await.status, 429);
}

#[tokio::test]
async fn an_answer_says_which_site_may_read_it() {
    let edge = edge_with(ROUTES).await;
    let token = format!("Authorization: Bearer {}", edge.signer.token(access_token::Role::User));
    let read = ask(&edge, HERE, "localhost", "GET /shared", &[SHOP, &token]).await;
    assert_eq!((read.status, read.value("access-control-allow-origin")), (200, "https://shop.example"));
    assert_eq!(read.value("access-control-allow-credentials"), "true");
    assert_eq!(read.value("vary"), "origin");
    // A page is to learn why it was refused.
    let refused = ask(&edge, HERE, "localhost", "GET /shared", &[SHOP]).await;
    assert_eq!((refused.status, refused.value("access-control-allow-origin")), (401, "https://shop.example"));
    // What isn't a page may ask, and what is of another site may not read.
    for origin in ["Origin: https://evil.example", "X-No: origin"] {
        let answer = ask(&edge, HERE, "localhost", "GET /shared", &[origin, &token]).await;
        assert_eq!((answer.status, answer.value("access-control-allow-origin")), (200, ""), "{origin}");
        assert_eq!(answer.value("vary"), "origin");
    }
    let twice =
        ask(&edge, HERE, "localhost", "GET /shared", &[SHOP, "Origin: https://evil.example", &token]).await;
    assert_eq!(twice.value("access-control-allow-origin"), "");
    let open = ask(&edge, HERE, "localhost", "GET /open", &["Origin: https://any.example"]).await;
    assert_eq!((open.value("access-control-allow-origin"), open.value("vary")), ("*", ""));
    // Of a service that opens itself to everybody the policy decides.
    let own = ask(&edge, HERE, "localhost", "GET /shared?allow_origin=*", &[&token]).await;
    assert_eq!(own.value("access-control-allow-origin"), "");
}
