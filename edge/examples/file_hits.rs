//! What a small file from memory costs, and one that is read from the disk:
//! `cargo run --release -p edge --example file_hits`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use edge::config::{Coding, CompressionPolicy, FileFolder};
use edge::files::{Asked, Files, Settings};
use http::{HeaderMap, HeaderValue, Method, header};

const ROUNDS: u32 = 5;

#[tokio::main]
async fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let folder = FileFolder { folder, fallback: None };
    let codings = vec![Coding::Zstd, Coding::Brotli, Coding::Gzip];
    let policy = CompressionPolicy { codings, level: 1, min_bytes: 1024, memory_bytes: 3 << 20 };
    let browser = HeaderValue::from_static("gzip, deflate, br, zstd");
    let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, browser)]);
    for (name, memory_bytes, requests) in [("from memory", 1536 * 1024, 200_000), ("from the disk", 0, 5_000)]
    {
        let files = Files::new(Arc::default());
        let settings =
            Settings { files: &folder, memory_bytes, compression: Some(&policy), may_redirect: true };
        let mut nanoseconds = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for _ in 0..requests {
                let asked = Asked { method: &Method::GET, path: "/app.js", query: None, headers: &headers };
                let mut body = files.serve(&settings, &asked).await.expect("a file").body;
                while body.next().await.expect("read").is_some() {}
            }
            nanoseconds.push(began.elapsed().as_nanos() / requests);
        }
        nanoseconds.sort_unstable();
        tell(name, &nanoseconds);
    }
}

#[expect(clippy::print_stdout, reason = "an example that measures says what it measured")]
fn tell(name: &str, nanoseconds: &[u128]) {
    let median = nanoseconds[nanoseconds.len() / 2];
    println!("{name:14} {median} ns a request (of {} rounds {nanoseconds:?})", nanoseconds.len());
}
