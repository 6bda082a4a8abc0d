//! Which route decides: hosts, methods, prefixes, names in paths.

use edge::nginx::About;

use super::case::{Area, Case, ask, get};

const CASES: &[Case] = &[
    get("/", "200").to("localhost"),
    get("/", "200 backend").to("a.example"),
    get("/", "200"),
    get("/x", "200 backend").to("A.Example:8443"),
    get("/x", "200 backend").to("a.example:443"),
    get("/", "421 unknown-host").to("c.example"),
    get("/", "421 unknown-host").to("a.example.evil.example"),
    get("/", "421 unknown-host").to("192.0.2.1"),
    get("/%4", "421 unknown-host").to("c.example").nginx(About::Framing, "400 bad-request"),
    get("/%00", "421 unknown-host").to("c.example").nginx(About::Framing, "400 bad-request"),
    get("/", "200").to("[::1]"),
    get("/admin/", "200").to("a.example"),
    get("/d/x", "200 backend"),
    get("/d", "200 backend"),
    get("/dx", "404 not-found"),
    get("/d/e/1/f", "200 backend"),
    ask("DELETE", "/d/e/1/f", "200 backend"),
    ask("PUT", "/d/e/1/f", "200 backend"),
    get("/d/e/1/f/g", "200 backend"),
    get("/p/x.json", "200 backend"),
    get("/p/.json", "401 token-missing"),
    get("/p/x.js", "401 token-missing"),
    get("/p/x.json.js", "401 token-missing"),
    get("/p/x/", "404 not-found"),
    get("/p", "404 not-found"),
    get("/@at,here", "401 token-missing"),
    get("/%40at,here", "200 backend").to("a.example"),
    get("/D/x", "404 not-found"),
    ask("BREW", "/d/x", "200 backend"),
    ask("HEAD", "/d/x", "200"),
    ask("OPTIONS", "/d/x", "200 backend"),
    ask("TRACE", "/d/x", "405 method-not-allowed"),
    ask("CONNECT", "/d/x", "405 method-not-allowed").unlike(
        About::Framing,
        &[
            "body detail",
            "field content-security-policy",
            "field permissions-policy",
            "field referrer-policy",
            "field x-content-type-options",
            "field x-frame-options",
        ],
    ),
];

/// The shipped policy: public in method and path, all else closed.
const SHIPPED: &[Case] = &[
    get("/api/vendors", "200 backend"),
    get("/api/vendors/7", "200 backend"),
    get("/api/vendors/7/availability", "200 backend"),
    get("/api/vendors/7/other", "401 token-missing"),
    get("/api/vendors/", "401 token-missing"),
    ask("HEAD", "/api/vendors", "401"),
    ask("POST", "/api/vendors", "401 token-missing"),
    ask("POST", "/api/auth/refresh", "200 backend"),
    get("/api/auth/refresh", "401 token-missing"),
    ask("PUT", "/api/auth/login", "401 token-missing"),
    get("/api/auth/providers", "200 backend"),
    get("/api/auth/callback/google", "200 backend"),
    get("/api/auth/callback", "401 token-missing"),
    get("/api/calendar/x.ics", "200 backend"),
    get("/api/calendar/x.txt", "401 token-missing"),
    get("/api/openapi.json", "200 backend"),
    get("/.well-known/x", "200 backend"),
    ask("POST", "/.well-known/x", "405 method-not-allowed"),
    get("/api", "401 token-missing"),
    get("/apis", "404 not-found"),
    get("/admin/api/users", "401 token-missing"),
];

pub(crate) fn area() -> Area {
    Area { name: "routes", cases: CASES.to_vec() }
}

pub(crate) fn shipped() -> Area {
    let cases = SHIPPED.iter().cloned().map(|case| case.to("localhost"));
    Area { name: "the shipped routes", cases: cases.collect() }
}
