//! Backends that break off, die, or don't verify tokens.

use edge::nginx::About;

use super::case::{Area, Case, ask, get};

/// One backend breaks each request off.
const ONE_BREAKS: &[Case] = &[get("/d/x", "200 backend").times(4)];

const ONE_IS_DEAD: &[Case] = &[
    get("/d/x", "200 backend").times(6),
    ask("POST", "/d/x", "200 backend").with("Content-Length: 2\r\n").sending("hi").times(4),
    get("/api/me", "200 backend").with("Authorization: Bearer {user}\r\n").times(4),
];

/// The backends serve, but nobody answers at their management addresses.
const NOBODY_VERIFIES: &[Case] = &[
    get("/api/vendors", "200 backend"),
    get("/api/me", "200 backend")
        .with("Authorization: Bearer {user}\r\n")
        .nginx(About::Tokens, "503 unavailable"),
];

const ALL_ARE_DEAD: &[Case] = &[
    get("/d/x", "503 unavailable"),
    ask("POST", "/d/x", "503 unavailable").with("Content-Length: 2\r\n").sending("hi"),
    ask("PUT", "/d/x", "503 unavailable").with("Content-Length: 2\r\n").sending("hi"),
    get("/nobody", "403 address-not-allowed"),
    get("/teapot.js", "418"),
];

pub(crate) fn one_breaks() -> Area {
    Area { name: "a backend breaks off", cases: ONE_BREAKS.to_vec() }
}

pub(crate) fn one_is_dead() -> Area {
    Area { name: "a backend is dead", cases: ONE_IS_DEAD.to_vec() }
}

pub(crate) fn nobody_verifies() -> Area {
    Area { name: "nobody verifies", cases: NOBODY_VERIFIES.to_vec() }
}

pub(crate) fn all_are_dead() -> Area {
    Area { name: "all backends are dead", cases: ALL_ARE_DEAD.to_vec() }
}
