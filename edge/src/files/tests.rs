use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::*;
use crate::config::Coding;

const LONG: usize = 300 * 1024;

/// A site beside a secret.
struct Site {
    folder: tempfile::TempDir,
    files: Files,
    policy: CompressionPolicy,
    fallback: Option<String>,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let codings = vec![Coding::Zstd, Coding::Gzip];
        let policy = CompressionPolicy { codings, level: 1, min_bytes: 1024, memory_bytes: 1 << 20 };
        let site = Self { folder, files: Files::new(Arc::default()), policy, fallback: None };
        fs::create_dir_all(site.web("sub")).expect("folders");
        for (name, text) in [
            ("index.html", "home"),
            ("app.js", "app"),
            (".env", "hidden"),
            ("sub/index.html", "sub"),
            ("../secret.txt", "secret"),
        ] {
            site.write(name, text);
        }
        site
    }

    fn web(&self, name: &str) -> PathBuf {
        self.folder.path().join("web").join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.web(name), text).expect("a file");
    }

    fn link(&self, name: &str, to: &str) {
        std::os::unix::fs::symlink(to, self.web(name)).expect("a link");
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, &str)],
    ) -> Result<Served, Refused> {
        let files = FileFolder { folder: self.web(""), fallback: self.fallback.clone() };
        let settings = Settings {
            files: &files,
            memory_bytes: 1 << 20,
            compression: Some(&self.policy),
            may_redirect: true,
        };
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        let headers = fields.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        self.files
            .serve(&settings, &Asked { method: &method, path, query: Some("q=1"), headers: &headers })
            .await
    }

    async fn get(&self, path: &str, fields: &[(HeaderName, &str)]) -> Result<Served, Refused> {
        self.ask(Method::GET, path, fields).await
    }

    async fn accepting(&self, path: &str, codings: &str) -> Served {
        self.get(path, &[(header::ACCEPT_ENCODING, codings)]).await.expect(path)
    }
}

async fn text(mut served: Served) -> String {
    let mut bytes = Vec::new();
    while let Some(chunk) = served.body.next().await.expect("read") {
        bytes.extend(chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn field(headers: &[(HeaderName, HeaderValue)], name: HeaderName) -> &str {
    let value = headers.iter().find(|(known, _)| *known == name);
    value.map_or("", |(_, value)| value.to_str().expect("text"))
}

fn coding(served: &Served) -> &str {
    field(&served.headers, header::CONTENT_ENCODING)
}

#[tokio::test]
async fn files_and_the_pages_of_folders_are_served() {
    let site = Site::new();
    for _ in 0..2 {
        for (path, body) in [("/", "home"), ("/app.js", "app"), ("/sub/", "sub"), ("/index.html", "home")] {
            assert_eq!(text(site.get(path, &[]).await.expect(path)).await, body, "{path}");
        }
    }
    let folder = site.get("/sub", &[]).await.expect("an answer");
    assert_eq!(folder.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(field(&folder.headers, header::LOCATION), "/sub/?q=1");
}

#[tokio::test]
async fn nothing_hidden_or_outside_is_served() {
    let site = Site::new();
    fs::create_dir(site.web("empty")).expect("a folder");
    site.link("way-out.txt", "../secret.txt");
    site.link("unhidden.txt", ".env");
    site.link("app.js.br", "../secret.txt");
    for path in [
        "/.env",
        "/way-out.txt",
        "/unhidden.txt",
        "/none",
        "/empty",
        "/empty/",
        "/%2e%2e/secret.txt",
        "/app.js/",
        "/app.js/x",
    ] {
        let refused = site.get(path, &[]).await.expect_err(path);
        assert_eq!(refused.problem.status, StatusCode::NOT_FOUND, "{path}");
    }
    let app = site.accepting("/app.js", "br").await;
    assert_eq!(coding(&app), "");
    assert_eq!(text(app).await, "app");
    // What is fine inside is served.
    site.link("alias.js", "app.js");
    assert_eq!(text(site.get("/alias.js", &[]).await.expect("a file")).await, "app");
}

#[tokio::test]
async fn only_get_and_head_are_taken_and_head_has_the_fields_of_get() {
    let site = Site::new();
    let refused = site.ask(Method::POST, "/", &[]).await.expect_err("a refusal");
    assert_eq!(refused.problem.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(field(&refused.headers, header::ALLOW), "GET, HEAD");
    site.write("long.txt", "x".repeat(LONG));
    for path in ["/", "/long.txt"] {
        let (get, head) = (site.get(path, &[]).await, site.ask(Method::HEAD, path, &[]).await);
        let (get, head) = (get.expect("a file"), head.expect("a file"));
        assert_eq!(get.headers, head.headers);
        assert!(head.body.is_empty() && !get.body.is_empty());
    }
}

#[tokio::test]
async fn an_edit_shows_in_time_also_where_only_the_inode_tells() {
    let site = Site::new();
    assert_eq!(text(site.get("/app.js", &[]).await.expect("a file")).await, "app");
    let modified = fs::metadata(site.web("app.js")).and_then(|metadata| metadata.modified()).expect("a time");
    site.write("new.js", "new");
    let new = fs::File::options().write(true).open(site.web("new.js")).expect("a file");
    new.set_modified(modified).expect("a time is set");
    fs::rename(site.web("new.js"), site.web("app.js")).expect("renamed");
    let edited = std::time::Instant::now();
    while text(site.get("/app.js", &[]).await.expect("a file")).await != "new" {
        assert!(edited.elapsed() < Duration::from_secs(10), "the edit never shows");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fs::remove_file(site.web("app.js")).expect("removed");
    while site.get("/app.js", &[]).await.is_ok() {
        assert!(edited.elapsed() < Duration::from_secs(20), "the removal never shows");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_sibling_is_sent_to_who_accepts_it_if_it_is_no_older() {
    let site = Site::new();
    for (name, content) in [("app.js.br", "of brotli"), ("app.js.gz", "of gzip"), ("app.js.zst", "of zstd")] {
        site.write(name, content);
    }
    let mut etags = Vec::new();
    for (accepted, coded, body) in [
        ("gzip, zstd, br", "br", "of brotli"),
        ("gzip, br;q=0.5", "gzip", "of gzip"),
        ("zstd", "zstd", "of zstd"),
        ("identity", "", "app"),
    ] {
        let served = site.accepting("/app.js", accepted).await;
        assert_eq!(coding(&served), coded, "{accepted}");
        assert_eq!(field(&served.headers, header::CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert_eq!(field(&served.headers, header::VARY), "accept-encoding");
        etags.push(field(&served.headers, header::ETAG).to_owned());
        assert_eq!(text(served).await, body);
    }
    etags.dedup();
    assert_eq!(etags.len(), 4, "{etags:?}");
    let part = [(header::ACCEPT_ENCODING, "br"), (header::RANGE, "bytes=3-")];
    assert_eq!(text(site.get("/app.js", &part).await.expect("a part")).await, "brotli");
    let itself = site.accepting("/app.js.br", "br").await;
    assert_eq!(coding(&itself), "");
    assert_eq!(text(itself).await, "of brotli");

    let site = Site::new();
    site.write("app.js.br", "of brotli");
    let old = fs::File::options().write(true).open(site.web("app.js.br")).expect("a file");
    old.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("a time is set");
    assert_eq!(coding(&site.accepting("/app.js", "br").await), "");
}

#[tokio::test]
async fn a_small_file_without_a_sibling_is_compressed_once() {
    let site = Site::new();
    site.write("style.css", "a { b: c }\n".repeat(1000));
    site.write("photo.png", "x".repeat(5000));
    site.write("long.css", "x".repeat(LONG));
    for accepted in ["zstd", "gzip;q=0.1, br", "zstd"] {
        let served = site.accepting("/style.css", accepted).await;
        assert!(["zstd", "gzip"].contains(&coding(&served)), "{accepted}");
        let length: u64 = field(&served.headers, header::CONTENT_LENGTH).parse().expect("a length");
        assert!(length < 1000, "{length}");
    }
    assert_eq!(site.files.encoders.taken_bytes(), 0);
    for path in ["/photo.png", "/long.css", "/app.js"] {
        let served = site.accepting(path, "zstd").await;
        assert_eq!(coding(&served), "", "{path}");
        assert_eq!(field(&served.headers, header::VARY), "", "{path}");
    }
    let refused = site.get("/app.js", &[(header::ACCEPT_ENCODING, "identity;q=0")]).await;
    assert_eq!(refused.expect_err("a refusal").problem.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn pages_of_an_application_are_its_fallback_and_files_are_not() {
    let mut site = Site::new();
    site.fallback = Some("/index.html".to_owned());
    let html = (header::ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
    for path in ["/users/7", "/users/", "/sub/none", "/caf%C3%A9"] {
        assert_eq!(text(site.get(path, std::slice::from_ref(&html)).await.expect(path)).await, "home");
    }
    assert_eq!(text(site.get("/sub/", std::slice::from_ref(&html)).await.expect("a file")).await, "sub");
    for (path, accept) in [
        ("/none.js", "text/html"),
        ("/.env", "text/html"),
        ("/users/7", "*/*"),
        ("/users/7", "text/html;q=0, */*"),
        ("/users/7", "application/json"),
    ] {
        let refused = site.get(path, &[(header::ACCEPT, accept)]).await.expect_err(path);
        assert_eq!(refused.problem.status, StatusCode::NOT_FOUND, "{path} {accept}");
    }
}

#[tokio::test]
async fn what_is_kept_of_files_has_a_bound() {
    let site = Site::new();
    for number in 0..40 {
        site.write(&format!("{number}.txt"), "x".repeat(100 * 1024));
    }
    for _ in 0..2 {
        for number in 0..40 {
            assert_eq!(
                text(site.get(&format!("/{number}.txt"), &[]).await.expect("a file")).await.len(),
                100 * 1024
            );
            // What is asked for all the time stays.
            site.get("/", &[]).await.expect("a page");
            assert!(site.files.cache.taken_bytes() <= 1 << 20);
        }
    }
    assert!(site.files.cache.taken_bytes() > 900 * 1024);
    assert!(matches!(site.files.cache.get(&site.web(""), "/"), Known::Fresh(_) | Known::Stale(_)));
    assert!(matches!(site.files.cache.get(&site.web(""), "/1.txt"), Known::Nothing));
}

#[tokio::test]
async fn what_slow_clients_still_take_counts_and_others_are_read_from_the_disk() {
    let site = Site::new();
    let mut slow = Vec::new();
    for number in 0..40 {
        site.write(&format!("{number}.txt"), "x".repeat(100 * 1024));
        slow.push(site.get(&format!("/{number}.txt"), &[]).await.expect("a file"));
        assert!(site.files.cache.taken_bytes() <= 1 << 20);
    }
    for served in slow {
        assert_eq!(text(served).await.len(), 100 * 1024);
    }
    // Once they have it, there is room again.
    site.get("/39.txt", &[]).await.expect("a file");
    assert!(matches!(site.files.cache.get(&site.web(""), "/39.txt"), Known::Fresh(_) | Known::Stale(_)));
}

#[tokio::test]
async fn a_page_without_its_slash_is_kept_for_the_route_that_has_it_so() {
    let site = Site::new();
    let (files, headers) = (FileFolder { folder: site.web(""), fallback: None }, HeaderMap::new());
    let asked = Asked { method: &Method::GET, path: "/sub", query: None, headers: &headers };
    for may_redirect in [false, true, false] {
        let settings = Settings { files: &files, memory_bytes: 1 << 20, compression: None, may_redirect };
        let status = site.files.serve(&settings, &asked).await.expect("an answer").status;
        assert_eq!(status == StatusCode::PERMANENT_REDIRECT, may_redirect);
    }
}
