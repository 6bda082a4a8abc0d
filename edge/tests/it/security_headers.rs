//! Fields that the policy sets on answers, whoever gives them.

use crate::asking::{HERE, ask, edge_with, get};
use crate::edge_process::Edge;
use crate::wire::Answer;

const SITE_CSP: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const DATA_CSP: &str = "default-src 'none'; frame-ancestors 'none'";

fn assert_secured(answer: &Answer, csp: &str, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "deny"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
        ("content-security-policy", csp),
        ("strict-transport-security", ""),
    ] {
        assert_eq!(answer.value(name), value, "{name} of {what}");
    }
}

#[tokio::test]
async fn files_problems_and_proxied_answers_carry_them_once() {
    let edge = Edge::start().await;
    for (target, status, csp) in [
        ("/", 200, SITE_CSP),
        ("/admin/", 200, SITE_CSP),
        ("/none", 404, SITE_CSP),
        ("/%00", 400, SITE_CSP),
        ("/api/vendors", 200, DATA_CSP),
        ("/api/me", 401, DATA_CSP),
        ("/admin/api/users", 401, DATA_CSP),
    ] {
        let answer = get(&edge, HERE, "localhost", target).await;
        assert_eq!(answer.status, status, "{target}");
        assert_secured(&answer, csp, target);
    }
    let etag = get(&edge, HERE, "localhost", "/").await.value("etag").to_owned();
    let known = ask(&edge, HERE, "localhost", "GET /", &[&format!("If-None-Match: {etag}")]).await;
    assert_eq!(known.status, 304);
    assert_secured(&known, SITE_CSP, "304");
    assert_secured(&get(&edge, HERE, "evil.example", "/").await, SITE_CSP, "421");
}

#[tokio::test]
async fn a_route_has_the_last_word_on_a_field() {
    let edge = edge_with(
        r#"
[[routes]]
below = "/embed"
headers = { x-frame-options = "", content-security-policy = "frame-ancestors https://shop.example", x-own = "wide" }
upstream = "backend"
[[routes]]
exact = "/embed/one"
headers = { x-own = "narrow" }
upstream = "backend"
"#,
    )
    .await;
    for (target, own) in [("/embed/x", "wide"), ("/embed/one", "narrow")] {
        let answer = get(&edge, HERE, "localhost", target).await;
        assert_eq!(answer.value("x-own"), own);
        assert_eq!(answer.value("x-frame-options"), "");
        assert_eq!(answer.value("content-security-policy"), "frame-ancestors https://shop.example");
        assert_eq!(answer.value("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn hsts_is_sent_for_named_public_hosts_only() {
    let edge = Edge::start_with(|config| {
        let hosts = r#"hosts = ["a.example", "b.example", "localhost", "#;
        config
            .replacen(r#"hosts = ["localhost", "#, hosts, 1)
            .replace(
                "[hsts]\nhosts = [\"localhost\"]",
                "[hsts]\nhosts = [\"a.example\", \"localhost\", \"127.0.0.1\", \"[::1]\"]",
            )
            .replace("include_subdomains = false", "include_subdomains = true")
    })
    .await;
    let hsts = "max-age=31536000; includesubdomains";
    for target in ["/", "/none", "/api/vendors", "/api/me"] {
        assert_eq!(get(&edge, HERE, "a.example", target).await.value("strict-transport-security"), hsts);
        for host in ["b.example", "localhost", "127.0.0.1", "[::1]", "evil.example"] {
            let answer = get(&edge, HERE, host, target).await;
            assert_eq!(answer.value("strict-transport-security"), "", "{host}{target}");
        }
    }
}

/// The shipped pages have nothing in them that the shipped CSP keeps from running.
#[test]
fn the_pages_keep_to_the_csp() {
    let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let mut folders = vec![web];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            let page = path.extension().is_some_and(|extension| extension == "html");
            let forbidden: &[&str] = match page {
                true => &["<style", " style=", " onclick=", " onload=", "javascript:", "http://", "https://"],
                false => {
                    &["eval(", "new Function", "setAttribute(\"style\"", "url(http", "@import", "innerHTML"]
                }
            };
            for words in forbidden {
                assert!(!text.contains(words), "{} has {words}", path.display());
            }
            let inline = text.split("<script").skip(1).any(|rest| !rest.starts_with(" type=\"module\" src="));
            assert!(!page || !inline, "{} has a script of its own", path.display());
        }
    }
}
