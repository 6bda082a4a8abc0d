//! Which host a connection is made to, and which certificate it is shown.

use edge::nginx::About;

use super::case::{Area, Case, get};

/// One certificate, for localhost and 127.0.0.1.
const ONE: &[Case] = &[
    get("/", "200").to("localhost").by("localhost"),
    get("/", "200").to("LOCALHOST:8443").by("localhost"),
    get("/", "421 unknown-host").by("localhost"),
    get("/", "421 unknown-host").to("c.example").by("localhost"),
    get("/", "421 unknown-host").to("127.0.0.1").by("localhost"),
    get("/", "0").to("c.example").by("c.example"),
    get("/", "200").to("localhost"),
    get("/", "200").to("127.0.0.1"),
    // The edge reads its certificate, and knows that it isn't for this host.
    get("/", "0").to("a.example").by("a.example").nginx(About::Certificates, "200 backend"),
];

/// One for localhost and 127.0.0.1, one for b.example; c.example is a host without one.
const SEVERAL: &[Case] = &[
    get("/", "200").to("localhost").by("localhost"),
    get("/", "421 unknown-host").by("localhost"),
    get("/", "200").by("b.example"),
    get("/", "421 unknown-host").to("c.example").by("b.example"),
    get("/", "0").to("c.example").by("c.example"),
    get("/", "0").to("d.example").by("d.example"),
    get("/", "200").to("localhost"),
    get("/", "200").to("127.0.0.1"),
    get("/", "200").to("[::1]"),
    get("/", "200"),
    get("/", "200").to("c.example"),
    get("/api/me", "401 token-missing").to("c.example"),
    get("/admin/", "403 address-not-allowed").to("c.example").from(2),
    get("/", "421 unknown-host").to("d.example"),
];

/// No host is an address, no route looks at a token: who names nobody is shown nothing.
const BARE: &[Case] = &[
    get("/x", "200 backend").to("localhost").by("localhost").from(6),
    get("/x", "403 address-not-allowed").to("localhost").by("localhost").from(3),
    get("/x", "200 backend").to("localhost").by("localhost").from(6).with("Authorization: Bearer x\r\n"),
    get("/x", "421 unknown-host").by("localhost").from(6),
    get("/x", "0"),
    get("/x", "0").to("localhost"),
    get("/narrow", "200 backend").to("localhost").by("localhost").from(7).times(6),
    get("/narrow", "429 rate-limited")
        .to("localhost")
        .by("localhost")
        .from(7)
        .unlike(About::Problems, &["body detail"]),
];

pub(crate) fn area() -> Area {
    Area { name: "names", cases: ONE.to_vec() }
}

pub(crate) fn several_certificates() -> Area {
    Area { name: "several certificates", cases: SEVERAL.to_vec() }
}

pub(crate) fn no_addresses_no_tokens() -> Area {
    Area { name: "without addresses and tokens", cases: BARE.to_vec() }
}
