//! Limits: as many as ever pass, the next one doesn't, and each address has its own.

use edge::nginx::About;

use super::case::{Area, Case, ask, get};

/// nginx knows when a request passes again at the latest, not when it does.
const CONSTANT: &[&str] = &["body detail", "field retry-after"];

const CASES: &[Case] = &[
    ask("POST", "/api/auth/login", "200 backend").from(10).times(10),
    ask("POST", "/api/auth/login", "429 rate-limited").from(10).unlike(About::RateLimitFields, CONSTANT),
    ask("GET", "/api/auth/login/x", "429 rate-limited").from(10).unlike(About::RateLimitFields, CONSTANT),
    get("/api/vendors", "200 backend").from(10),
    ask("POST", "/api/auth/login", "200 backend").from(11),
    // The narrow one of two refuses; what only the wide one holds for still passes.
    get("/limited/more", "200 backend").from(12).times(3),
    get("/limited/more", "429 rate-limited").from(12).unlike(About::Problems, &["body detail"]).times(2),
    get("/limited", "200 backend").from(12),
    // A refusal for want of a token is charged too; one by address isn't.
    get("/api/auth/login/x", "200 backend").from(13).times(4),
    ask("PUT", "/api/auth/login/x", "401 token-missing").from(13).times(6),
    get("/api/auth/login/x", "429 rate-limited").from(13).unlike(About::RateLimitFields, CONSTANT),
    // Of two, the wide one refuses: the edge has charged the narrow one, nginx none.
    get("/slow/narrow", "200 backend").from(15),
    get("/slow/narrow", "429 rate-limited").from(15).unlike(About::RateLimitFields, CONSTANT),
    // What the edge says of a budget.
    get("/d/x", "200 backend").from(14).unlike(About::RateLimitFields, &["field ratelimit"]),
];

pub(crate) fn area() -> Area {
    Area { name: "limits", cases: CASES.to_vec() }
}
