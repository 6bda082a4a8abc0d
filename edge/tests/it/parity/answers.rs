//! Redirects, fixed answers, and the fields that the policy sets.

use edge::nginx::About;

use super::case::{Area, Case, Port, ask, get};

const CASES: &[Case] = &[
    get("/old", "308"),
    get("/old/a/b?c=d", "308"),
    get("/old//a/%62?c=d", "308"),
    get("/old/a%20b", "308"),
    get("/old//a%20b", "308").nginx(About::EncodedDetours, "400 bad-request"),
    get("/old//evil.example", "308"),
    ask("POST", "/gone/x", "302"),
    get("/moved", "301"),
    get("/moved/a?b", "301"),
    get("/moved/@evil.example", "301"),
    get("/moved?//evil.example", "301"),
    get("/old/%0d%0aset-cookie:x", "400 bad-request").unlike(About::Problems, &["body detail"]),
    get("/teapot.js", "418"),
    ask("HEAD", "/teapot.js", "418"),
    ask("POST", "/teapot.js", "418"),
    get("/empty", "404"),
    get("/nothing-here", "204"),
    get("/a?b=c", "308").at(Port::Plain).to("localhost"),
    get("/", "421 unknown-host").at(Port::Plain).to("c.example"),
    get("//a/./b", "308").at(Port::Plain).to("localhost").unlike(About::PlainRedirect, &["field location"]),
    get("/health", "200").at(Port::Admin),
    get("/upstreams", "200").at(Port::Admin).nginx(About::AdminPort, "404"),
    get("/d/%zz", "400 bad-request").unlike(About::Problems, &["body detail"]),
];

pub(crate) fn area() -> Area {
    Area { name: "answers of their own", cases: CASES.to_vec() }
}
