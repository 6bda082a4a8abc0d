//! Allowlist, limits, hosts, forged fields: the contract's policy, seen from outside.

use reqwest::StatusCode;

use crate::edge_process::{Edge, problem_of};
use crate::wire::Wire;

#[tokio::test]
async fn admin_pages_are_for_allowlisted_addresses_only() {
    let edge = Edge::start().await;
    let inside = edge.client().get(edge.url("/admin/")).send().await.expect("an answer");
    assert_eq!(inside.text().await.expect("a page"), "the admin page");
    let outside = edge.client_at([127, 0, 0, 2]);
    for path in ["/admin", "/admin/", "/admin/api/overview", "//admin", "/x/../admin", "/%61dmin"] {
        let response = outside.get(edge.url(path)).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(problem_of(response).await, "address-not-allowed");
    }
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_path_below_api_that_is_not_listed_needs_a_token() {
    let edge = Edge::start().await;
    for path in ["/api", "/api/anything", "/api/vendors/", "/api/me"] {
        let response = edge.client().get(edge.url(path)).send().await.expect("an answer");
        assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="daemun""#, "{path}");
        assert_eq!(problem_of(response).await, "token-missing");
    }
    let listed = edge.client().get(edge.url("/api/vendors?q=x")).send().await.expect("an answer");
    assert_eq!(listed.status(), StatusCode::OK);
    assert_eq!(edge.received().len(), 1);
}

#[tokio::test]
async fn exactly_the_budget_of_logins_passes_for_each_address() {
    let edge = Edge::start().await;
    let post = async |client: &reqwest::Client| {
        client.post(edge.url("/api/auth/login")).body("{}").send().await.expect("an answer")
    };
    let (here, there) = (edge.client_at([127, 0, 0, 2]), edge.client_at([127, 0, 0, 3]));
    for turn in 0..10 {
        let response = post(&here).await;
        assert_eq!(response.status(), StatusCode::OK, "turn {turn}");
        let field = response.headers()["ratelimit"].to_str().expect("text").to_owned();
        assert!(field.starts_with(&format!("\"login\";r={};t=", 9 - turn)), "{field}");
    }
    let refused = post(&here).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["ratelimit-policy"], "\"login\";q=10;w=60");
    let wait: u64 = refused.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=6).contains(&wait), "{wait}");
    assert_eq!(problem_of(refused).await, "rate-limited");
    assert_eq!(post(&there).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn logins_count_towards_the_api_limit() {
    let edge = Edge::start().await;
    let client = edge.client_at([127, 0, 0, 2]);
    for _ in 0..10 {
        client.post(edge.url("/api/auth/login")).send().await.expect("an answer");
    }
    let mut passed = 0;
    for _ in 0..95 {
        let response = client.get(edge.url("/api/vendors")).send().await.expect("an answer");
        passed += usize::from(response.status() == StatusCode::OK);
    }
    // One request is let through each 0.6 s meanwhile.
    assert!((90..=94).contains(&passed), "{passed}");
}

#[tokio::test]
async fn two_thousand_at_once_on_a_budget_of_a_hundred() {
    // An hour's budget: nothing is refilled meanwhile.
    let edge = Edge::start_with(|c| {
        c.replace(
            "[limits.api]\nrequests = 100\nseconds = 60",
            "[limits.api]\nrequests = 100\nseconds = 3600",
        )
        .replace("requests = 1200", "requests = 100000")
    })
    .await;
    // Each has its connection open already: then a hundred requests fit on it at once.
    let clients: Vec<_> = (0..20).map(|_| edge.client_at([127, 0, 0, 2])).collect();
    for client in &clients {
        client.get(edge.url("/")).send().await.expect("an answer");
    }
    let spellings = ["/api/vendors", "//api/vendors", "/%61pi/vendors", "/api/./vendors"];
    let requests = (0..2000).map(|turn| {
        let request = clients[turn % 20].get(edge.url(spellings[turn / 20 % 4]));
        async move { request.send().await.expect("an answer").status() }
    });
    let statuses = futures_util::future::join_all(requests).await;
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::OK).count(), 100);
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count(), 1900);
    assert_eq!(edge.received().len(), 100);
}

#[tokio::test]
async fn fields_that_only_a_gateway_may_set_are_replaced() {
    let edge = Edge::start().await;
    edge.client_at([127, 0, 0, 9])
        .get(edge.url("/api/vendors"))
        .header("x-forwarded-for", "127.0.0.1")
        .header("x-real-ip", "127.0.0.1")
        .header("forwarded", "for=127.0.0.1")
        .header("x-user-id", "admin")
        .header("X_User_Id", "admin")
        .header("x-original-url", "/admin")
        .header("x-request-id", "mine")
        .header("x-kept", "yes")
        .send()
        .await
        .expect("an answer");
    let received = edge.received();
    let headers = &received[0].headers;
    assert_eq!(headers["x-forwarded-for"], "127.0.0.9");
    assert_eq!(headers["x-request-id"].len(), 36);
    assert_eq!(headers["x-kept"], "yes");
    for name in ["x-real-ip", "forwarded", "x-user-id", "x_user_id", "x-original-url"] {
        assert!(!headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_client() {
    let edge =
        Edge::start_with(|c| c.replace("trusted_proxies = []", r#"trusted_proxies = ["127.0.0.7/32"]"#))
            .await;
    let proxy = edge.client_at([127, 0, 0, 7]);
    let ask = async |forwarded: &str| {
        let request = proxy.get(edge.url("/admin/")).header("x-forwarded-for", forwarded);
        request.send().await.expect("an answer").status()
    };
    assert_eq!(ask("127.0.0.1").await, StatusCode::OK);
    assert_eq!(ask("127.0.0.1, 203.0.113.9").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("127.0.0.1, nonsense").await, StatusCode::BAD_REQUEST);
}

/// What is said of a connection (RFC 9110, section 7.6.1) takes nothing away that the edge adds or has checked.
#[tokio::test]
async fn a_client_cannot_name_fields_away() {
    let edge = Edge::start().await;
    let token = edge.signer.token(access_token::Role::User);
    let ask = async |named: &str| {
        let mut wire = Wire::open(&edge).await;
        let request = format!(
            "GET /api/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nX-User-Id: admin\r\nX-USER-ID: admin\r\nX_User_Id: admin\r\nConnection: close, {named}\r\n\r\n"
        );
        wire.send(request).await.expect("sent");
        wire.answer().await.expect("an answer").status
    };
    // Whom a request is for and from can't be meant for this connection only.
    for named in ["Host", "X-Forwarded-For", "\"X-Forwarded-For\""] {
        assert_eq!(ask(named).await, 400, "{named}");
    }
    assert!(edge.received().is_empty());
    assert_eq!(ask("X-Request-Id, X-User-Id").await, 200);
    let received = edge.received();
    let headers = &received[0].headers;
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-request-id"].len(), 36);
    assert_eq!(headers["authorization"], format!("Bearer {token}").as_str());
    assert!(!headers.contains_key("x-user-id") && !headers.contains_key("x_user_id"));
}

#[tokio::test]
async fn trusted_hops_are_walked_from_the_right_over_all_lines() {
    let edge = Edge::start_with(|c| {
        c.replace("trusted_proxies = []", r#"trusted_proxies = ["127.0.0.7/32", "10.0.0.0/8"]"#)
    })
    .await;
    for (lines, status) in [
        ("X-Forwarded-For: 127.0.0.1, 10.1.1.1", 200),
        ("X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 10.1.1.1, 10.2.2.2", 200),
        ("X-Forwarded-For: ::ffff:127.0.0.1", 200),
        ("X-Forwarded-For: 127.0.0.1, 203.0.113.9, 10.1.1.1", 403),
        ("X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.1.1.1", 403),
        ("X-Forwarded-For: 127.0.0.1, , 10.1.1.1", 400),
        ("X-Forwarded-For: 127.0.0.1:80", 400),
        ("X-Real-IP: 127.0.0.1", 403),
        ("Forwarded: for=127.0.0.1", 403),
    ] {
        let mut wire = Wire::open_from(&edge, [127, 0, 0, 7]).await;
        wire.send(format!("GET /admin/ HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n")).await.expect("sent");
        assert_eq!(wire.answer().await.expect("an answer").status, status, "{lines}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_split() {
    let edge = Edge::start().await;
    for path in ["/%0d%0aSet-Cookie:x", "/a%0aX:y", "/a?b=%0d%0aX:y"] {
        let mut wire = Wire::new(tokio::net::TcpStream::connect(edge.http).await.expect("a connection"));
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.expect("sent");
        let answer = wire.answer().await.expect("an answer");
        assert!(matches!(answer.status, 308 | 400), "{answer:?}");
        assert!(!answer.head.contains("\r\nset-cookie") && !answer.head.contains("\r\nx:"), "{answer:?}");
    }
}

#[tokio::test]
async fn plain_http_is_redirected() {
    let edge = Edge::start().await;
    let request = edge.client().get(format!("http://localhost:{}/a/../b?c=d", edge.http.port()));
    let response = request.header("host", "localhost").send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(response.headers()["location"], edge.url("/b?c=d").as_str());
}

#[tokio::test]
async fn no_answer_names_what_is_behind() {
    let edge = Edge::start().await;
    let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    for name in ["server", "via", "x-powered-by"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_limit_that_two_routes_name_counts_a_request_once() {
    let edge = Edge::start_with(|c| {
        c.replace("limits = [\"login\"]\ntoken", "limits = [\"login\", \"api\"]\ntoken")
    })
    .await;
    let response = edge.client().post(edge.url("/api/auth/login")).send().await.expect("an answer");
    let field = response.headers()["ratelimit"].to_str().expect("text").to_owned();
    assert_eq!(field.matches("\"api\"").count(), 1, "{field}");
    assert!(field.contains("\"api\";r=99"), "{field}");
}
