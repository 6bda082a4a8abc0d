//! Static files as clients get them.

use std::fs;
use std::io::Read;

use reqwest::{Response, StatusCode};

use crate::asking::edge_with;
use crate::edge_process::{Edge, problem_of};
use crate::wire::Wire;

const LARGE: usize = 24 << 20;

fn write(edge: &Edge, name: &str, content: impl AsRef<[u8]>) {
    fs::write(edge.folder().join("web").join(name), content).expect("a file");
}

async fn get(edge: &Edge, path: &str, fields: &[(&str, &str)]) -> Response {
    let request = edge.client().get(edge.url(path));
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("an answer")
}

fn value<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// No two places of it are alike.
fn large() -> Vec<u8> {
    (0..LARGE as u32 / 4).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn a_part_of_a_file_is_sent_alone() {
    let edge = Edge::start().await;
    write(&edge, "ten.txt", "0123456789");
    write(&edge, "large.bin", large());
    let part = get(&edge, "/ten.txt", &[("range", "bytes=2-4")]).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!((value(&part, "content-range"), value(&part, "content-length")), ("bytes 2-4/10", "3"));
    assert_eq!(part.text().await.expect("a body"), "234");
    let end = get(&edge, "/large.bin", &[("range", "bytes=-8")]).await;
    assert_eq!(value(&end, "content-range"), format!("bytes {}-{}/{LARGE}", LARGE - 8, LARGE - 1));
    assert_eq!(end.bytes().await.expect("a body")[..], large()[LARGE - 8..]);
    let none = get(&edge, "/ten.txt", &[("range", "bytes=10-")]).await;
    assert_eq!(none.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(value(&none, "content-range"), "bytes */10");
    assert_eq!(problem_of(none).await, "range-not-satisfiable");
    for range in ["bytes=0-1,4-5", "bytes=4-2", "lines=1-2"] {
        let whole = get(&edge, "/ten.txt", &[("range", range)]).await;
        assert_eq!((whole.status(), value(&whole, "accept-ranges")), (StatusCode::OK, "bytes"));
        assert_eq!(whole.text().await.expect("a body"), "0123456789");
    }
}

#[tokio::test]
async fn conditions_are_asked_before_anything_is_sent() {
    let edge = Edge::start().await;
    write(&edge, "ten.txt", "0123456789");
    let first = get(&edge, "/ten.txt", &[]).await;
    let (etag, modified) = (value(&first, "etag"), value(&first, "last-modified"));
    assert!(etag.starts_with('"') && !modified.is_empty());
    let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, status) in [
        (&[("if-none-match", etag)][..], 304),
        (&[("if-modified-since", modified)], 304),
        (&[("if-none-match", "\"x\""), ("if-modified-since", modified)], 200),
        (&[("if-match", etag), ("if-unmodified-since", long_ago)], 200),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-unmodified-since", long_ago)], 412),
        (&[("if-range", etag), ("range", "bytes=0-0")], 206),
        (&[("if-range", "\"x\""), ("range", "bytes=0-0")], 200),
        (&[("if-none-match", etag), ("range", "bytes=0-0")], 304),
    ] {
        let response = get(&edge, "/ten.txt", fields).await;
        assert_eq!(response.status(), status, "{fields:?}");
        if status == 412 {
            assert_eq!(problem_of(response).await, "precondition-failed");
        } else {
            assert_eq!(value(&response, "etag"), etag);
        }
    }
}

#[tokio::test]
async fn a_head_has_the_fields_of_a_get() {
    let edge = Edge::start().await;
    write(&edge, "style.css", "a { b: c }\n".repeat(500));
    for path in ["/", "/style.css", "/none", "/admin"] {
        let fields = |response: &Response| {
            let mut fields = response.headers().clone();
            for own in ["x-request-id", "date", "ratelimit"] {
                fields.remove(own);
            }
            (response.status(), fields)
        };
        let head = edge.client().head(edge.url(path)).header("accept-encoding", "gzip");
        let head = head.send().await.expect("an answer");
        let get = get(&edge, path, &[("accept-encoding", "gzip")]).await;
        let (mut of_get, mut of_head) = (fields(&get), fields(&head));
        if path == "/none" {
            // The length of a problem is that of its request id too.
            of_get.1.remove("content-length");
            of_head.1.remove("content-length");
        }
        assert_eq!(of_get, of_head, "{path}");
        assert!(head.bytes().await.expect("no body").is_empty());
    }
}

#[tokio::test]
async fn a_large_file_comes_whole() {
    let edge = Edge::start().await;
    write(&edge, "large.bin", large());
    let response = get(&edge, "/large.bin", &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(value(&response, "content-length"), LARGE.to_string());
    assert!(response.bytes().await.expect("a body") == large());
}

#[tokio::test]
async fn a_file_that_becomes_shorter_ends_its_connection() {
    let edge = Edge::start().await;
    write(&edge, "large.bin", large());
    let mut wire = Wire::open(&edge).await;
    wire.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let response = get(&edge, "/large.bin", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let file = fs::File::options().write(true).open(edge.folder().join("web/large.bin")).expect("a file");
    file.set_len(1 << 20).expect("cut");
    assert!(wire.all().await.len() < LARGE);
    assert!(response.bytes().await.is_err());
    assert_eq!(get(&edge, "/large.bin", &[]).await.bytes().await.expect("what is left").len(), 1 << 20);
}

#[tokio::test]
async fn an_edit_shows_soon() {
    let edge = Edge::start().await;
    let page = async || get(&edge, "/", &[]).await.text().await.expect("a page");
    assert_eq!(page().await, "the start page");
    write(&edge, "index.html", "another page");
    edge.wait_until("the edit shows", async || page().await == "another page").await;
}

#[tokio::test]
async fn compressed_files_are_sent_to_who_accepts_them() {
    let edge = Edge::start().await;
    let css = "a { b: c }\n".repeat(500);
    write(&edge, "app.3f9a2c1b.js", "the source");
    write(&edge, "app.3f9a2c1b.js.br", "compressed beforehand");
    write(&edge, "style.css", &css);
    let script = get(&edge, "/app.3f9a2c1b.js", &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(value(&script, "content-encoding"), "br");
    assert_eq!(value(&script, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(value(&script, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(value(&script, "vary"), "accept-encoding");
    assert_eq!(script.text().await.expect("a body"), "compressed beforehand");
    for _ in 0..2 {
        let style = get(&edge, "/style.css", &[("accept-encoding", "gzip, zstd;q=0.5")]).await;
        assert_eq!((value(&style, "content-encoding"), value(&style, "cache-control")), ("gzip", "no-cache"));
        let bytes = style.bytes().await.expect("a body");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, css);
    }
    let refused = get(&edge, "/", &[("accept-encoding", "identity;q=0, gzip;q=0")]).await;
    assert_eq!(value(&refused, "vary"), "accept-encoding");
    assert_eq!(problem_of(refused).await, "not-acceptable");
}

#[tokio::test]
async fn a_folder_without_its_slash_is_sent_on() {
    let edge = Edge::start().await;
    let folder = get(&edge, "/x/..//%61dmin?a=/b", &[]).await;
    assert_eq!(folder.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(value(&folder, "location"), "/admin/?a=/b");
    assert_eq!(get(&edge, "/admin/", &[]).await.text().await.expect("a page"), "the admin page");
}

#[tokio::test]
async fn an_applications_addresses_are_its_page() {
    let edge = edge_with(
        "[[routes]]\nbelow = \"/app\"\nfiles = { folder = \"web\", fallback = \"admin/index.html\" }\ncompress = false\n",
    )
    .await;
    fs::create_dir_all(edge.folder().join("web/app")).expect("a folder");
    write(&edge, "app/app.js", "let x = 1;\n".repeat(500));
    let html = ("accept", "text/html,*/*;q=0.8");
    for path in ["/app/users/7", "/app/"] {
        let page = get(&edge, path, &[html]).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert_eq!(page.text().await.expect("a page"), "the admin page");
    }
    for (path, fields) in [("/app/none.js", &[html][..]), ("/app/users/7", &[]), ("/users/7", &[html])] {
        assert_eq!(problem_of(get(&edge, path, fields).await).await, "not-found", "{path}");
    }
    let script = get(&edge, "/app/app.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!(value(&script, "content-encoding"), "");
}
