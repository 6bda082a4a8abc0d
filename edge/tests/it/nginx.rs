//! The same policy in front of real nginx: what is written down is current, nginx takes it, and serves as it says.

use std::path::Path;
use std::process::Command;

use access_token::{Revocation, Role};
use reqwest::Method;

use crate::edge_process::problem_of;
use crate::nginx_process::{NginxGateway, nginx};

const RENEW: &str = "cargo run -p edge -- nginx config/edge.toml > nginx-compat/nginx.conf && \
                     cargo run -p edge -- nginx config/edge.toml --notes > nginx-compat/README.md";

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Without what this machine says: each variable has its default.
fn printed(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge"));
    command.arg("nginx").arg("config/edge.toml").args(arguments).current_dir(repository());
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("EDGE_") || name.starts_with("BACKEND_"))
    {
        command.env_remove(name);
    }
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn what_is_written_down_is_what_the_shipped_policy_gives() {
    for (file, arguments) in [("nginx.conf", &[][..]), ("README.md", &["--notes"])] {
        let written =
            std::fs::read_to_string(repository().join("nginx-compat").join(file)).unwrap_or_default();
        assert!(written == printed(arguments), "nginx-compat/{file} is stale; renew it: {RENEW}");
    }
}

#[test]
fn nginx_takes_what_is_written_down() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::edge_process::write_certificate(folder.path());
    for inner in ["certs", "var/nginx", "nginx-compat", "config"] {
        std::fs::create_dir_all(folder.path().join(inner)).expect("a folder");
    }
    for file in ["localhost.pem", "localhost-key.pem"] {
        std::fs::rename(folder.path().join(file), folder.path().join("certs").join(file)).expect("moved");
    }
    let conf = folder.path().join("nginx-compat/nginx.conf");
    std::fs::copy(repository().join("nginx-compat/nginx.conf"), &conf).expect("a configuration");
    let output = nginx(&conf, folder.path()).arg("-t").output().expect("nginx is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    // nginx 1.25 and newer has another word for HTTP/2, which 1.22 doesn't know.
    let is_warning = |line: &str| line.contains("[warn]") && !line.contains("deprecated");
    assert!(output.status.success() && !told.lines().any(is_warning), "{told}");
}

#[tokio::test]
async fn the_shipped_policy_is_served() {
    let gateway = NginxGateway::start_with(|config| config);
    let client = gateway.client();
    let page = client.get(gateway.url("/")).send().await.expect("answered");
    assert_eq!(page.status(), 200);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(page.headers()[name], value);
    }
    assert_eq!(page.text().await.expect("a body"), "the start page");
    let folder = client.get(gateway.url("/admin?q=1")).send().await.expect("answered");
    assert_eq!(folder.status(), 308);
    assert_eq!(folder.headers()["location"], "/admin/?q=1");
    assert_eq!(folder.headers().get_all("location").iter().count(), 1);
    assert_eq!(client.get(gateway.url("/admin/")).send().await.expect("answered").status(), 200);
    let other = gateway.client_at([127, 0, 0, 2]);
    for path in ["/admin/", "/admin/api/users", "//admin/", "/%61dmin/x", "/x/../admin"] {
        let refused = other.get(gateway.url(path)).send().await.expect("answered");
        assert_eq!(refused.status(), 403, "{path}");
        assert_eq!(problem_of(refused).await, "address-not-allowed", "{path}");
    }
    let missing = client.get(gateway.url("/nothing.js")).send().await.expect("answered");
    assert_eq!(problem_of(missing).await, "not-found");
    let posted = client.post(gateway.url("/")).send().await.expect("answered");
    assert_eq!(posted.headers()["allow"], "GET, HEAD");
    assert_eq!(problem_of(posted).await, "method-not-allowed");
    let plain = client.get(format!("http://localhost:{}/a?b=c", gateway.nginx.http.port())).send().await;
    let plain = plain.expect("answered");
    assert_eq!(plain.status(), 308);
    assert_eq!(plain.headers()["location"], gateway.url("/a?b=c"));
    assert!(plain.bytes().await.expect("a body").is_empty());
}

#[tokio::test]
async fn tokens_are_asked_for_as_the_policy_does() {
    let gateway = NginxGateway::start_with(|config| config);
    let client = gateway.client();
    let (user, admin) = (gateway.signer.token(Role::User), gateway.signer.token(Role::Admin));
    let ask = async |method: Method, path: &str, token: Option<&str>| {
        let mut request = client.request(method, gateway.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.expect("answered")
    };
    for (method, path, token, status) in [
        (Method::GET, "/api/vendors", None, 200),
        (Method::GET, "/api/vendors/7", None, 200),
        (Method::HEAD, "/api/vendors", None, 401),
        (Method::POST, "/api/vendors", None, 401),
        (Method::POST, "/api/vendors", Some(user.as_str()), 200),
        (Method::GET, "/api/vendors/", None, 401),
        (Method::GET, "/api/me", Some("forged"), 401),
        (Method::GET, "/api/me?access_token=x", Some(user.as_str()), 400),
        (Method::GET, "/api/me?%61ccess_toke%6E=x", Some(user.as_str()), 400),
        (Method::GET, "/api/vendors?access_token=x", None, 200),
        (Method::GET, "/admin/api/users", None, 401),
        (Method::GET, "/admin/api/users", Some(user.as_str()), 403),
        (Method::GET, "/admin/api/users", Some(admin.as_str()), 200),
        (Method::PUT, "/api/auth/login", None, 401),
        (Method::POST, "/api/auth/login", None, 200),
    ] {
        let answer = ask(method.clone(), path, token).await;
        assert_eq!(answer.status(), status, "{method} {path} {token:?}");
        let has_challenge = answer.headers().contains_key("www-authenticate");
        assert_eq!(has_challenge, status >= 400, "{method} {path} {token:?}");
    }
    assert_eq!(problem_of(ask(Method::GET, "/api/me", None).await).await, "token-missing");
    assert_eq!(problem_of(ask(Method::GET, "/api/me", Some("x.y.z")).await).await, "invalid-token");
    assert_eq!(problem_of(ask(Method::GET, "/admin/api/x", Some(&user)).await).await, "forbidden");
    for backend in &gateway.backends {
        backend.revoke(&Revocation::Session { id: "session".into() });
    }
    assert_eq!(problem_of(ask(Method::GET, "/api/me", Some(&user)).await).await, "invalid-token");
}

#[tokio::test]
async fn without_a_backend_that_verifies_nobody_passes() {
    let mut gateway = NginxGateway::start_with(|config| config);
    let token = gateway.signer.token(Role::User);
    gateway.backends.iter_mut().for_each(crate::backend::EchoBackend::kill);
    let client = gateway.client();
    for path in ["/api/me", "/api/vendors"] {
        let answer = client.get(gateway.url(path)).bearer_auth(&token).send().await.expect("answered");
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.headers()["retry-after"], "1", "{path}");
        assert_eq!(problem_of(answer).await, "unavailable", "{path}");
    }
}

#[tokio::test]
async fn limits_let_through_what_they_say() {
    let gateway = NginxGateway::start_with(|config| config);
    let client = gateway.client();
    let login = async || client.post(gateway.url("/api/auth/login")).send().await.expect("answered");
    for number in 0..10 {
        assert_eq!(login().await.status(), 200, "{number}");
    }
    let refused = login().await;
    assert_eq!(refused.headers()["retry-after"], "7");
    assert_eq!(problem_of(refused).await, "rate-limited");
    assert_eq!(client.get(gateway.url("/api/vendors")).send().await.expect("answered").status(), 200);
    let neighbour = gateway.client_at([127, 0, 0, 9]);
    assert_eq!(neighbour.post(gateway.url("/api/auth/login")).send().await.expect("answered").status(), 200);
}

#[tokio::test]
async fn a_service_gets_what_the_edge_would_send() {
    let gateway = NginxGateway::start_with(|config| config);
    let client = gateway.client();
    let mut request = client.get(gateway.url("/api/vendors/a%20b?x=%2F"));
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-user-id", "root"),
        ("x-auth-user", "root"),
        ("forwarded", "for=1.2.3.4"),
        ("x-request-id", "mine"),
        ("upgrade", "websocket"),
        ("idempotency-key", "k"),
    ] {
        request = request.header(name, value);
    }
    let answer = request.send().await.expect("answered");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(answer.headers().get_all("x-request-id").iter().count(), 1);
    assert!(!answer.headers().contains_key("x-powered-by"));
    assert_eq!(answer.headers()["server"], "nginx");
    let received = gateway.received().pop().expect("one");
    assert_eq!(received.target, "/api/vendors/a%20b?x=%2F");
    assert_eq!(received.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(received.headers["x-request-id"], id.as_str());
    assert_eq!(received.headers["idempotency-key"], "k");
    assert_eq!(received.headers["host"], format!("localhost:{}", gateway.nginx.https.port()));
    for name in ["x-user-id", "x-auth-user", "forwarded", "upgrade"] {
        assert!(!received.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn the_log_is_json_without_queries_and_secrets() {
    let gateway = NginxGateway::start_with(|config| config);
    let client = gateway.client();
    for path in ["/api/vendors?ticket=hidden", "/api/calendar/hidden.ics", "/api/calendar/hidden.ics/x"] {
        client.get(gateway.url(path)).send().await.expect("answered");
    }
    let is_whole = |log: &str| log.lines().filter(|line| line.contains("/api/calendar")).count() == 2;
    let started = std::time::Instant::now();
    while !is_whole(&gateway.nginx.log()) {
        assert!(started.elapsed().as_secs() < 20, "{}", gateway.nginx.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let log = gateway.nginx.log();
    assert!(!log.contains("hidden"), "{log}");
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(line["status"].is_u64() && line["duration_ms"].is_u64(), "{line}");
    }
}

#[tokio::test]
async fn health_is_told_at_the_admin_port() {
    let gateway = NginxGateway::start_with(|config| config);
    let health = format!("http://{}/health", gateway.nginx.admin);
    let answer = gateway.client().get(health).send().await.expect("answered");
    assert_eq!(answer.text().await.expect("a body"), r#"{"status":"UP"}"#);
}
