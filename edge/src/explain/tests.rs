use std::path::Path;

use super::*;
use crate::config;

fn shipped() -> Policy {
    shipped_with("")
}

fn shipped_with(routes: &str) -> Policy {
    let text = config_text::expand(include_str!("../../../config/edge.toml"), |_| None).expect("defaults");
    config::parse(&format!("{text}\n{routes}"), Path::new("/")).expect("a valid policy")
}

fn ask(method: Method, url: &str, from: &str, fields: &[&str], token: Option<&str>) -> Report {
    let fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
    let question = Question {
        method,
        url: url.to_owned(),
        from: from.parse().expect("an address"),
        headers: headers(&fields, token).expect("fields"),
        keys: None,
    };
    explain(&shipped(), question)
}

/// The same from nearby, with a policy of the test's own.
fn ask_of(policy: &Policy, method: Method, url: &str, fields: &[&str]) -> Report {
    let fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
    let headers = headers(&fields, None).expect("fields");
    let from = "127.0.0.1".parse().expect("an address");
    explain(policy, Question { method, url: url.to_owned(), from, headers, keys: None })
}

fn outcome(report: &Report) -> (Option<u16>, Option<&str>) {
    (report.status, report.problem)
}

#[test]
fn a_detour_to_the_admin_pages_is_explained() {
    let report = ask(Method::GET, "https://localhost:8443//x/../%61dmin", "203.0.113.9", &[], None);
    assert_eq!(outcome(&report), (Some(403), Some("address-not-allowed")));
    let words = report.to_string();
    assert!(words.contains("/admin, canonical for //x/../%61dmin"), "{words}");
    assert!(words.contains("REFUSE  127.0.0.1/32, ::1/128"), "{words}");
    assert!(words.ends_with("→ 403 address-not-allowed"), "{words}");
}

#[test]
fn the_first_refusal_is_the_answer_and_later_ones_are_shown() {
    let report = ask(Method::GET, "/admin/api/overview", "203.0.113.9", &[], None);
    assert_eq!(outcome(&report), (Some(403), Some("address-not-allowed")));
    let refusals = report.steps.iter().filter(|step| step.decision == Decision::Refuse).count();
    assert_eq!(refusals, 2, "{report}");
}

#[test]
fn limits_that_a_request_would_use_are_named_narrowest_first() {
    let report = ask(Method::POST, "/api/auth/login", "198.51.100.1", &[], None);
    assert_eq!(outcome(&report), (None, None));
    assert!(report.to_string().contains("one of login 10/60s, api 100/60s, site 1200/60s"), "{report}");
    assert!(
        report.target.as_deref().is_some_and(|target| target.starts_with("upstream backend")),
        "{report}"
    );
}

#[test]
fn a_token_without_keys_is_left_undecided() {
    let report = ask(Method::GET, "/api/me", "198.51.100.1", &[], Some("a.b.c"));
    let step = report.steps.iter().find(|step| step.name == "token").expect("the token's");
    assert_eq!(step.decision, Decision::Undecided);
    assert!(ask(Method::GET, "/api/me", "198.51.100.1", &[], None).status == Some(401));
}

#[test]
fn what_never_reaches_a_route_is_explained_too() {
    let at = |method, url: &str| ask(method, url, "198.51.100.1", &[], None).status;
    assert_eq!(at(Method::GET, "https://evil.example/"), Some(421));
    assert_eq!(at(Method::GET, "/%2fadmin"), Some(400));
    assert_eq!(at(Method::TRACE, "/"), Some(405));
    assert_eq!(at(Method::GET, "https://localhost?x=/admin"), None);
    assert_eq!(
        ask(Method::GET, "/api/chat/ws", "::1", &["Origin: https://evil.example"], None).status,
        Some(403)
    );
}

#[test]
fn every_route_of_the_policy_has_a_row() {
    let policy = shipped();
    let rows = rows(&policy);
    assert_eq!(rows.len(), policy.routes.len());
    let admin = rows.iter().find(|row| row.route == "/admin/api/**").expect("a row");
    assert_eq!(admin.token, "required, role admin");
    assert_eq!(admin.limits, ["admin 600/60s", "site 1200/60s"]);
    assert_eq!(admin.allow, ["127.0.0.1/32, ::1/128"]);
    assert_eq!(table::render(&rows, &policy).lines().count(), rows.len() + 3);
}

#[test]
fn budgets_are_told_with_their_keys() {
    let report = ask(Method::POST, "//api/auth/login", "2001:db8::7", &[], None);
    assert_eq!(report.canonical.as_deref(), Some("/api/auth/login"));
    let settings = report.settings.expect("a route");
    let budgets: Vec<_> = settings.limits.iter().map(|b| format!("{} {}", b.limit, b.key)).collect();
    let expected =
        ["login 10/60s", "api 100/60s", "site 1200/60s"].map(|limit| format!("{limit} 2001:db8::/64"));
    assert_eq!(budgets, expected);
    assert_eq!((settings.max_body_bytes, settings.read_timeout_ms), (1_048_576, Some(30_000)));
    let csp = settings.headers.iter().filter(|(name, _)| name == "content-security-policy");
    assert_eq!(csp.count(), 1);
}

#[test]
fn where_a_request_goes_is_told_to_the_end() {
    let policy = shipped_with(
        r#"
[[routes]]
below = "/old"
redirect = { to = "https://new.example", keep_path = true, status = 302 }
[[routes]]
exact = "/robots.txt"
respond = { status = 200, body = "nothing" }
max_body_bytes = 5
"#,
    );
    let to = |url: &str| ask_of(&policy, Method::GET, url, &[]).target;
    assert_eq!(to("/old/a/../b?c").as_deref(), Some("302 to https://new.example/b?c"));
    let fixed = "200 text/plain; charset=utf-8, 7 bytes, always the same";
    assert_eq!(to("/robots.txt").as_deref(), Some(fixed));
    let rows = rows(&policy);
    let robots = rows.iter().find(|row| row.route == "/robots.txt").expect("a row");
    assert_eq!((robots.target.as_str(), robots.max_body_bytes), ("answer 200", 5));
}

#[test]
fn what_may_be_compressed_is_told() {
    let codings = |url: &str| ask(Method::GET, url, "::1", &[], None).settings.expect("a route").compression;
    assert_eq!(codings("/api/vendors"), ["zstd", "br", "gzip"]);
    assert_eq!(codings("/api/auth/providers"), [""; 0]);
    let policy =
        shipped_with("[[routes]]\nbelow = \"/a\"\nfiles = { folder = \"w\", fallback = \"x.html\" }\n");
    let rows = rows(&policy);
    let row = |route: &str| rows.iter().find(|row| row.route == route).expect("a row");
    assert!(!row("/api/auth/**").compress && row("/api/**").compress);
    assert_eq!(row("/a/**").target, "/w/, else /x.html");
    let to = ask_of(&policy, Method::GET, "/a/b", &[]).target;
    assert_eq!(to.as_deref(), Some("files below /w, pages that aren't there by /x.html"));
    assert!(render(&rows, &policy).contains("uncompressed"));
}

#[test]
fn a_preflight_is_told_with_its_answer() {
    let policy = shipped_with(
        r#"
[[routes]]
below = "/shared"
token = "required"
upstream = "backend"
cors = { origins = ["https://shop.example"], methods = ["PUT"], max_age_seconds = 60 }
"#,
    );
    let put = "Access-Control-Request-Method: PUT";
    let of = |origin: &str| ask_of(&policy, Method::OPTIONS, "/shared", &[origin, put]);
    let report = of("Origin: https://shop.example");
    assert_eq!(outcome(&report), (Some(204), None));
    assert_eq!(
        report.steps.last().map(|step| (step.name, step.decision)),
        Some(("preflight", Decision::Answer))
    );
    let settings = report.settings.expect("a route");
    let allowed = ("access-control-allow-methods".to_owned(), "PUT".to_owned());
    assert!(settings.headers.contains(&allowed), "{settings}");
    assert_eq!(settings.cors.as_deref(), Some("https://shop.example may PUT"));
    assert_eq!(outcome(&of("Origin: https://evil.example")), (Some(403), Some("cross-origin-refused")));
}

#[test]
fn a_table_fits_a_screen_however_long_the_lists_are() {
    let networks: Vec<_> = (0..50).map(|n| format!("\"10.0.{n}.0/24\"")).collect();
    let list = networks.join(", ");
    let long = "long-segment/".repeat(10);
    let policy = shipped_with(&format!(
        "[[routes]]\nbelow = \"/{long}x\"\nallow = [{list}]\ndeny = [{list}]\nupstream = \"backend\"\n"
    ));
    let rows = rows(&policy);
    let text = render(&rows, &policy);
    assert!(text.lines().all(|line| line.chars().count() <= 142), "{text}");
    assert!(rows[0].allow[0].contains("10.0.49.0/24") && rows[0].deny.len() == 50);
}
