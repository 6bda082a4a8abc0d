//! Routes by host, denylists, redirects, fixed answers, and what a route may say otherwise.

use std::time::Instant;

use access_token::Role;
use reqwest::StatusCode;

use crate::asking::{HERE, THERE, ask, edge_with, get};
use crate::edge_process::{Edge, problem_of};

const HOST_ROUTES: &str = r#"
[[routes]]
hosts = ["a.example"]
below = "/"
upstream = "backend"
[[routes]]
hosts = ["a.example"]
below = "/inside"
allow = ["127.0.0.1/32"]
upstream = "backend"
[[routes]]
hosts = ["b.example"]
below = "/"
files = "web"
"#;

#[tokio::test]
async fn a_denied_address_is_refused_where_it_is_allowed_too() {
    let edge = edge_with(
        r#"
[[routes]]
below = "/closed"
allow = ["127.0.0.0/8"]
deny = ["127.0.0.2/31", "2001:db8::/32"]
respond = { status = 200, body = "in" }
[[routes]]
below = "/closed/deeper"
allow = ["127.0.0.2/32", "127.0.0.4/32"]
respond = { status = 200, body = "in" }
"#,
    )
    .await;
    let status = async |last: u8, path: &str| get(&edge, [127, 0, 0, last], "localhost", path).await.status;
    assert_eq!((status(1, "/closed").await, status(4, "/closed").await), (200, 200));
    for last in [2, 3] {
        let answer = get(&edge, [127, 0, 0, last], "localhost", "/closed/x").await;
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("/problems/address-not-allowed"), "{answer:?}");
    }
    // Lists along the path add up: both deny and allow.
    assert_eq!(status(2, "/closed/deeper").await, 403);
    assert_eq!(status(1, "/closed/deeper").await, 403);
    assert_eq!(status(4, "/closed/deeper").await, 200);
}

#[tokio::test]
async fn a_route_for_a_host_is_met_by_its_host_only() {
    let edge = edge_with(HOST_ROUTES).await;
    assert_eq!(get(&edge, HERE, "a.example", "/index.html").await.status, 200);
    assert_eq!(edge.received()[0].target, "/index.html");
    for host in ["localhost", "b.example", "B.Example:8443"] {
        assert_eq!(get(&edge, HERE, host, "/index.html").await.body, "the start page", "{host}");
    }
    assert_eq!(edge.received().len(), 1);
}

#[tokio::test]
async fn a_hosts_own_site_opens_nothing_that_is_closed_for_all() {
    let edge = edge_with(HOST_ROUTES).await;
    for host in ["a.example", "b.example"] {
        assert_eq!(get(&edge, THERE, host, "/admin/").await.status, 403, "{host}");
        assert_eq!(get(&edge, HERE, host, "/api/me").await.status, 401, "{host}");
        assert_eq!(get(&edge, HERE, host, "/admin/api/users").await.status, 401, "{host}");
    }
    assert!(edge.received().is_empty());
}

/// Rows P01 to P06, for a route that names a host.
#[tokio::test]
async fn no_spelling_of_a_path_gets_around_a_host_route() {
    let edge = edge_with(HOST_ROUTES).await;
    for target in [
        "//inside",
        "/./inside",
        "/x/../inside",
        "/%69nside",
        "/%2e/inside",
        "/inside/",
        "/inside?x",
        "http://a.example/inside",
    ] {
        assert_eq!(get(&edge, THERE, "a.example", target).await.status, 403, "{target}");
        assert_eq!(get(&edge, HERE, "a.example", target).await.status, 200, "{target}");
    }
    let reached = edge.received().len();
    for target in ["/%2Finside", "/x%2f..%2finside", "/\\inside", "/%5cinside", "/inside%00", "/inside;x"] {
        assert_eq!(get(&edge, THERE, "a.example", target).await.status, 400, "{target}");
    }
    assert_eq!(edge.received().len(), reached);
    assert_eq!(get(&edge, THERE, "a.example", "/%2569nside").await.status, 200);
    assert_eq!(get(&edge, THERE, "a.example", "/insider").await.status, 200);
    let asks_for_another = ["X-Original-URL: /inside", "X-Rewrite-URL: /inside"];
    assert_eq!(ask(&edge, THERE, "a.example", "GET /other", &asks_for_another).await.status, 200);
    let mut received = edge.received();
    received.retain(|request| !request.target.starts_with("/inside/") && request.target != "/inside");
    let targets: Vec<_> = received.iter().map(|request| request.target.as_str()).collect();
    for target in ["/%2569nside", "/insider", "/other"] {
        assert!(targets.contains(&target), "{targets:?}");
    }
    assert!(received.iter().all(|request| !request.headers.contains_key("x-original-url")));
    std::fs::write(edge.folder().join("web/.hidden"), "hidden").expect("a file");
    std::os::unix::fs::symlink("/etc/passwd", edge.folder().join("web/link")).expect("a link");
    for (target, status) in [("/..%2f..%2fetc/passwd", 400), ("/.hidden", 404), ("/link", 404)] {
        assert_eq!(get(&edge, HERE, "b.example", target).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn a_redirect_leads_where_the_policy_says_and_nowhere_else() {
    let edge = edge_with(
        r#"
[[routes]]
below = "/old"
redirect = { to = "/new", keep_path = true }
[[routes]]
below = "/moved"
redirect = { to = "https://new.example/", status = 302, keep_path = true }
[[routes]]
exact = "/one"
redirect = { to = "https://new.example/there?x=1", status = 301 }
[[routes]]
hosts = ["b.example"]
below = "/"
redirect = { to = "https://a.example", status = 307, keep_path = true }
"#,
    )
    .await;
    for (host, target, status, location) in [
        ("localhost", "/old/a/b?c=d", 308, "/new/a/b?c=d"),
        ("localhost", "/old", 308, "/new"),
        ("localhost", "/old//evil.example", 308, "/new/evil.example"),
        ("localhost", "/moved", 302, "https://new.example"),
        ("localhost", "/moved/.evil.example", 302, "https://new.example/.evil.example"),
        ("localhost", "/moved/@evil.example", 302, "https://new.example/@evil.example"),
        ("localhost", "/moved?//evil.example", 302, "https://new.example?//evil.example"),
        ("localhost", "/one?to=https://evil.example", 301, "https://new.example/there?x=1"),
        ("b.example", "/", 307, "https://a.example/"),
        ("b.example", "//evil.example/..", 307, "https://a.example/"),
        ("b.example", "/evil.example", 307, "https://a.example/evil.example"),
    ] {
        let answer = get(&edge, HERE, host, target).await;
        assert_eq!((answer.status, answer.value("location")), (status, location), "{host}{target}");
    }
    for target in ["/old/%0d%0aset-cookie:x", "/old/\\evil.example", "/old/a%0Ab"] {
        assert_eq!(get(&edge, HERE, "localhost", target).await.status, 400, "{target}");
    }
    let escaped = get(&edge, HERE, "localhost", "/old?%0d%0aset-cookie:x").await;
    assert!(!escaped.head.contains("\r\nset-cookie"), "{escaped:?}");
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_fixed_answer_is_the_same_for_everybody() {
    let edge = edge_with(
        r#"
[[routes]]
exact = "/robots.txt"
respond = { status = 200, body = "User-agent: *\n" }
[[routes]]
below = "/gone"
respond = { status = 410, content_type = "application/json", body = "{}" }
[[routes]]
exact = "/nothing"
respond = { status = 204 }
"#,
    )
    .await;
    let robots = get(&edge, HERE, "localhost", "/robots.txt").await;
    assert_eq!((robots.status, robots.body.as_str()), (200, "User-agent: *\n"));
    assert_eq!(robots.value("content-type"), "text/plain; charset=utf-8");
    assert_eq!(robots.value("x-content-type-options"), "nosniff");
    let head = ask(&edge, HERE, "localhost", "HEAD /robots.txt", &[]).await;
    assert_eq!((head.value("content-length"), head.body.as_str()), ("14", ""));
    let gone = ask(&edge, HERE, "localhost", "POST /gone/x", &["Content-Length: 0"]).await;
    assert_eq!(
        (gone.status, gone.value("content-type"), gone.body.as_str()),
        (410, "application/json", "{}")
    );
    assert_eq!(get(&edge, HERE, "localhost", "/nothing").await.status, 204);
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_route_may_take_longer_or_shorter_bodies() {
    let edge = edge_with(
        r#"
[[routes]]
below = "/small"
max_body_bytes = 10
upstream = "backend"
[[routes]]
below = "/small/large"
max_body_bytes = 100
upstream = "backend"
[[routes]]
below = "/small/deep"
upstream = "backend"
"#,
    )
    .await;
    let post = async |path: &str, bytes: usize| {
        let request = edge.client().post(edge.url(path)).body("x".repeat(bytes));
        request.send().await.expect("an answer")
    };
    assert_eq!(post("/small", 10).await.status(), StatusCode::OK);
    assert_eq!(post("/small/large", 100).await.status(), StatusCode::OK);
    let before = edge.received().len();
    for (path, bytes) in [("/small", 11), ("/small/deep", 11), ("/small/large", 101)] {
        let refused = post(path, bytes).await;
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!(problem_of(refused).await, "body-too-large");
    }
    assert_eq!(edge.received().len(), before);
    // A length that nobody said is counted as it comes.
    let chunked = ["Transfer-Encoding: chunked", "", "b\r\nxxxxxxxxxxx\r\n0\r\n"];
    assert_eq!(ask(&edge, HERE, "localhost", "POST /small", &chunked).await.status, 413);
}

#[tokio::test]
async fn a_route_may_have_less_patience_with_its_server() {
    let edge = edge_with(
        r#"
[[routes]]
below = "/quick"
timeouts = { read_ms = 200 }
upstream = "backend"
[[routes]]
below = "/patient"
upstream = "backend"
"#,
    )
    .await;
    let started = Instant::now();
    let late = edge.client().post(edge.url("/quick?wait_ms=3000")).send().await.expect("an answer");
    assert_eq!(problem_of(late).await, "bad-gateway");
    assert!(started.elapsed().as_millis() < 2000, "{:?}", started.elapsed());
    let waited = edge.client().post(edge.url("/patient?wait_ms=500")).send().await.expect("an answer");
    assert_eq!(waited.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_route_may_ask_what_a_token_says() {
    let edge = edge_with(
        r#"
[[routes]]
below = "/mine"
token = "required"
claims = { sub = ["ada", "bob"], role = "vendor" }
upstream = "backend"
"#,
    )
    .await;
    let ask = async |role: Role, sub: &str| {
        let token = edge.signer.token_with(role, |_, claims| claims.sub = sub.into());
        edge.client().get(edge.url("/mine")).bearer_auth(token).send().await.expect("an answer")
    };
    assert_eq!(ask(Role::Vendor, "bob").await.status(), StatusCode::OK);
    for (role, sub) in [(Role::Vendor, "eve"), (Role::User, "ada"), (Role::Admin, "ada")] {
        assert_eq!(problem_of(ask(role, sub).await).await, "forbidden", "{role} {sub}");
    }
    assert_eq!(edge.received().len(), 1);
}

#[tokio::test]
async fn a_users_limit_counts_the_user_wherever_they_come_from() {
    let edge = Edge::start_with(|config| {
        let limit = "[limits.user]\nrequests = 3\nseconds = 3600\nby = \"user\"\n[limits.site]";
        let config = config.replacen("[limits.site]", limit, 1);
        format!("{config}\n[[routes]]\nbelow = \"/mine\"\ntoken = \"required\"\nlimits = [\"user\"]\nupstream = \"backend\"\n")
    })
    .await;
    let ask = async |from: [u8; 4], sub: &str| {
        let token = edge.signer.token_with(Role::User, |_, claims| claims.sub = sub.into());
        let request = edge.client_at(from).get(edge.url("/mine")).bearer_auth(token);
        request.send().await.expect("an answer").status()
    };
    for from in [HERE, THERE, HERE] {
        assert_eq!(ask(from, "ada").await, StatusCode::OK);
    }
    assert_eq!(ask(THERE, "ada").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(THERE, "bob").await, StatusCode::OK);
}
