//! Files: what is served, hidden, made of a folder, cached, cut into parts and compressed.

use std::path::Path;

use edge::nginx::About;

use super::case::{Area, Case, ask, get};

const REFUSED_RANGE: &[&str] = &[
    "body detail",
    "field cache-control",
    "field content-security-policy",
    "field content-type",
    "field permissions-policy",
    "field referrer-policy",
    "field x-content-type-options",
    "field x-frame-options",
];

const CASES: &[Case] = &[
    get("/app/app-3f9a2c1b.js", "200").unlike(About::Files, &["field etag"]),
    ask("HEAD", "/app/app-3f9a2c1b.js", "200"),
    get("/app/notes.txt", "206").with("Range: bytes=2-4\r\n").unlike(About::Files, &["field accept-ranges"]),
    get("/app/notes.txt", "200").with("Range: bytes=0-1,3-4\r\n"),
    get("/app/notes.txt", "304").with("If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT\r\n"),
    get("/app/notes.txt", "416 range-not-satisfiable")
        .with("Range: bytes=99-\r\n")
        .unlike(About::Files, REFUSED_RANGE),
    get("/app/notes.txt", "412 precondition-failed")
        .with("If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT\r\n"),
    get("/app/notes.txt/", "404 not-found"),
    get("/app/.git/config", "404 not-found"),
    get("/app/link.txt", "404 not-found"),
    get("/app/a@b.txt", "200"),
    get("/app/a%40b.txt", "404 not-found"),
    get("/app/x.unknown", "200"),
    get("/app/p.svg", "200"),
    ask("PUT", "/app/notes.txt", "405 method-not-allowed"),
    ask("OPTIONS", "/app/notes.txt", "405 method-not-allowed"),
    get("/app/some/page", "200").with("Accept: text/html, */*;q=0.5\r\n"),
    get("/app/some/page", "404 not-found").with("Accept: text/html;q=0, */*\r\n"),
    get("/app/some/page", "404 not-found").with("Accept: application/json\r\n"),
    get("/app/some/page.js", "404 not-found").with("Accept: text/html\r\n"),
    get("/app", "404 not-found"),
    get("/admin?x", "308"),
    get("/admin/", "200"),
    get("/.hidden", "404 not-found"),
    get("/a%20b", "404 not-found"),
    get("/nothing.js", "404 not-found"),
    get("/", "200"),
    get("/app/long.txt", "200")
        .with("Accept-Encoding: gzip\r\n")
        .unlike(About::Compression, &["body", "field accept-ranges", "field content-length"]),
    get("/app/long.txt", "200")
        .with("Accept-Encoding: br\r\n")
        .unlike(About::Compression, &["body", "field content-encoding", "field content-length"]),
];

pub(crate) fn area() -> Area {
    Area { name: "files", cases: CASES.to_vec() }
}

/// The files that the cases are about.
pub(crate) fn write(web: &Path) {
    std::fs::create_dir_all(web.join("app/.git")).expect("a folder");
    for name in ["app-3f9a2c1b.js", "notes.txt", ".git/config", "a@b.txt", "x.unknown", "p.svg"] {
        std::fs::write(web.join("app").join(name), "0123456789").expect("a file");
    }
    std::fs::write(web.join("app/long.txt"), "0123456789".repeat(400)).expect("a file");
    std::os::unix::fs::symlink("/etc/passwd", web.join("app/link.txt")).expect("a link");
}
