use std::path::Path;

use super::*;
use crate::config;

fn shipped() -> Policy {
    let text = config_text::expand(include_str!("../../../config/edge.toml"), |_| None).expect("defaults");
    config::parse(&text, Path::new("/")).expect("the shipped policy is valid")
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
