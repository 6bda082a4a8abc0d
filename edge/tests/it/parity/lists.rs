//! Who may come by their address, and who may speak for another.

use edge::nginx::About;

use super::case::{Area, Case, ask, get};

/// 31 trusted proxies, each behind a comma.
macro_rules! chain {
    () => {
        concat!(tens!(), tens!(), tens!(), ", 10.1.1.1")
    };
}
macro_rules! tens {
    () => {
        ", 10.1.1.1, 10.1.1.1, 10.1.1.1, 10.1.1.1, 10.1.1.1, 10.1.1.1, 10.1.1.1, 10.1.1.1, 10.1.1.1, 10.1.1.1"
    };
}
const CASES: &[Case] = &[
    get("/admin/", "403 address-not-allowed").from(2),
    get("/admin/", "200"),
    get("/admin", "403 address-not-allowed").from(2),
    get("/admin/", "403 address-not-allowed").from(2).to("a.example"),
    get("/admin/api/users", "403 address-not-allowed").from(2).with("Authorization: Bearer {admin}\r\n"),
    get("//admin/", "403 address-not-allowed").from(2),
    get("/%61dmin/x", "403 address-not-allowed").from(2),
    get("/x/../admin", "403 address-not-allowed").from(2),
    get("/admin/..", "200").from(2),
    get("/admin%2fapi", "400 bad-request").from(2).unlike(About::Problems, &["body detail"]),
    get("/d/x", "403 address-not-allowed").from(3),
    get("/d/e", "403 address-not-allowed").from(4),
    get("/d/e/1", "403 address-not-allowed").from(2),
    get("/d/e/1/f", "403 address-not-allowed").from(2),
    ask("DELETE", "/d/e/1/f", "403 address-not-allowed").from(4),
    ask("OPTIONS", "/d/e", "403 address-not-allowed").from(2),
    get("/nobody", "403 address-not-allowed"),
    // Whoever no proxy vouches for speaks for themselves.
    get("/d/x", "403 address-not-allowed").from(3).with("X-Forwarded-For: 127.0.0.1\r\n"),
    get("/admin/", "403 address-not-allowed")
        .from(2)
        .with("X-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n"),
    // Lists come before tokens, and before what is wrong with a method.
    get("/d/e", "403 address-not-allowed").from(3).with("Authorization: Bearer {forged}\r\n"),
    ask("POST", "/admin/", "403 address-not-allowed").from(2),
];

/// From the proxy 127.0.0.5, which is trusted as 10.0.0.0/8 is.
const PROXIED: &[Case] = &[
    get("/d/x", "403 address-not-allowed").from(5).with("X-Forwarded-For: 127.0.0.3\r\n"),
    get("/d/x", "200 backend").from(5).with("X-Forwarded-For: 127.0.0.3, 198.51.100.1\r\n"),
    get("/d/x", "403 address-not-allowed").from(5).with("X-Forwarded-For: 127.0.0.3, 10.1.1.1\r\n"),
    get("/d/x", "403 address-not-allowed")
        .from(5)
        .with("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 127.0.0.3\r\n"),
    get("/d/x", "200 backend").from(5).with("X-Forwarded-For: unknown, 198.51.100.1\r\n"),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: 198.51.100.1, unknown\r\n"),
    get("/d/x", "200 backend").from(5).with("X-Forwarded-For: 10.1.1.1\r\n"),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: unknown, 10.1.1.1\r\n"),
    get("/d/x", "200 backend").from(5).with("X-Forwarded-For: 2001:db8::7\r\n"),
    get("/d/x", "403 address-not-allowed").from(5).with("X-Forwarded-For: ::ffff:127.0.0.3\r\n"),
    get("/d/x", "200 backend").from(5),
    get("/d/x", "403 address-not-allowed").from(3).with("X-Forwarded-For: 127.0.0.1\r\n"),
    get("/admin/", "200").from(5).with("X-Forwarded-For: 127.0.0.1\r\n"),
    get("/admin/", "403 address-not-allowed").from(5).with("X-Forwarded-For: 127.0.0.1, 127.0.0.2\r\n"),
    // 32 entries are a long way, 33 no real one.
    get("/d/x", "200 backend").from(5).with(concat!("X-Forwarded-For: 198.51.100.1", chain!(), "\r\n")),
    get("/d/x", "403 address-not-allowed").from(5).with(concat!(
        "X-Forwarded-For: 127.0.0.3",
        chain!(),
        "\r\n"
    )),
    get("/d/x", "400 bad-request").from(5).with(concat!(
        "X-Forwarded-For: 127.0.0.3, 10.2.2.2",
        chain!(),
        "\r\n"
    )),
    get("/d/x", "400 bad-request").from(5).with(concat!(
        "X-Forwarded-For: 10.2.2.2, 10.2.2.2",
        chain!(),
        "\r\n"
    )),
    get("/d/x", "200 backend").with(concat!("X-Forwarded-For: 127.0.0.3, 10.2.2.2", chain!(), "\r\n")),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: 198.51.100.1:80\r\n"),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: 10.1.1.1:80\r\n"),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: [2001:db8::7]\r\n"),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: [2001:db8::7]:80\r\n"),
    get("/d/x", "403 address-not-allowed").from(5).with("X-Forwarded-For: 198.51.100.1:80, 127.0.0.3\r\n"),
    get("/d/x", "200 backend").from(5).with("X-Forwarded-For:\r\n"),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: 198.51.100.1, \r\n"),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: 198.51.100.1, , 10.1.1.1\r\n"),
    get("/d/x", "400 bad-request").from(5).with("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For:\r\n"),
    get("/d/x", "200 backend").with("X-Forwarded-For: ,,1.2.3.4:80,\r\n"),
    get("/d/x", "200 backend")
        .from(5)
        .with("X-Forwarded-For: 127.0.0.3, , 198.51.100.1\r\n")
        .nginx(About::ForwardedFor, "400 bad-request"),
    get("/d/x", "200 backend")
        .from(5)
        .with("X-Forwarded-For: ::ffff:a01:101\r\n")
        .nginx(About::ForwardedFor, "400 bad-request"),
];

pub(crate) fn area() -> Area {
    Area { name: "addresses", cases: CASES.to_vec() }
}

pub(crate) fn behind_proxies() -> Area {
    Area { name: "addresses behind proxies", cases: PROXIED.to_vec() }
}
