//! The same policy in front of real nginx: what is written down is current, nginx takes it, and serves as it says.

use std::path::Path;
use std::process::Command;

use access_token::Role;

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
