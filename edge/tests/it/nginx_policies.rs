//! A policy that has of everything, served by the edge and by nginx: both give the same answers, and the same reaches the
//! backend.

use std::net::SocketAddr;

use access_token::Role;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::edge_process::{Edge, TlsConnection, shipped_config};
use crate::nginx_process::Nginx;

const ROUTES: &str = r#"
[limits.narrow]
requests = 3
seconds = 60

[limits.one-of_two]
requests = 5
seconds = 1

[[routes]]
below = "/"
hosts = ["a.example"]
upstream = "backend"
headers = { x-frame-options = "", x-own = "$1 \"quoted\"" }

[[routes]]
below = "/d"
deny = ["127.0.0.3/32", "127.0.0.4/32"]
upstream = "backend"

[[routes]]
below = "/d/e"
allow = ["127.0.0.1/32", "127.0.0.4/32"]
upstream = "backend"

[[routes]]
below = "/d/e"
methods = ["DELETE"]
allow = ["127.0.0.1/32"]
upstream = "backend"

[[routes]]
exact = "/d/e/{id}/f"
methods = ["GET", "DELETE"]
upstream = "backend"

[[routes]]
exact = "/nobody"
allow = []
upstream = "backend"

[[routes]]
exact = "/p/{x}.json"
upstream = "backend"

[[routes]]
exact = "/p/{x}"
token = "required"
upstream = "backend"

[[routes]]
exact = "/@at,here"
token = "required"
upstream = "backend"

[[routes]]
below = "/claims"
token = "required"
claims = { sub = ["user", "x y&z"], aud = "daemun" }
upstream = "backend"

[[routes]]
below = "/vendor"
token = "required"
roles = ["vendor", "admin"]
upstream = "backend"

[[routes]]
below = "/limited"
limits = ["one-of_two"]
upstream = "backend"

[[routes]]
below = "/limited/more"
limits = ["narrow", "one-of_two"]
upstream = "backend"

[[routes]]
below = "/old"
redirect = { to = "/new", keep_path = true }

[[routes]]
below = "/gone"
redirect = { to = "https://other.example/there?a=$b", status = 302 }

[[routes]]
below = "/moved"
redirect = { to = "https://other.example/", status = 301, keep_path = true }

[[routes]]
exact = "/teapot.js"
respond = { status = 418, content_type = "text/x-tea", body = "short & 'stout' \"$5\"" }

[[routes]]
exact = "/empty"
respond = { status = 404 }

[[routes]]
exact = "/nothing-here"
respond = { status = 204 }

[[routes]]
below = "/small"
max_body_bytes = 10
upstream = "backend"
token = "optional"

[[routes]]
below = "/shared"
token = "required"
upstream = "backend"
cors = { origins = ["https://shop.example"], methods = ["PUT", "GET"], headers = ["content-type", "x-a"], credentials = true, max_age_seconds = 60 }

[[routes]]
below = "/shared/open"
upstream = "backend"
cors = { origins = ["*"], methods = ["GET"], max_age_seconds = 5 }
"#;

fn rich(config: String) -> String {
    let config =
        config.replace("hosts = [\"localhost\", ", "hosts = [\"localhost\", \"a.example\", \"b.example\", ");
    let (head, rest) = config.split_once("\n[[routes]]").expect("routes");
    let (limits, routes) = ROUTES.split_once("\n[[routes]]").expect("routes");
    format!("{head}\n{limits}\n[[routes]]{routes}\n[[routes]]{rest}")
}

/// Both gateways on the same policy, in front of the same backends.
struct Both {
    edge: Edge,
    nginx: Nginx,
}

/// What is alike.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    /// The problem's name, or the body of an answer that isn't the backend's.
    body: String,
    /// Method and target as the backend got them, and fields that are the gateway's.
    received: Vec<String>,
}

const COMPARED: [&str; 15] = [
    "content-type",
    "location",
    "www-authenticate",
    "allow",
    "cache-control",
    "x-frame-options",
    "content-security-policy",
    "x-own",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "referrer-policy",
    "x-powered-by",
];

impl Both {
    async fn start() -> Self {
        Self::start_with(rich).await
    }

    async fn start_with(change: impl Fn(String) -> String) -> Self {
        let edge = Edge::start_with(&change).await;
        let config = |ports| change(shipped_config(&edge.backends, edge.folder(), ports));
        let nginx = Nginx::start(edge.folder(), config);
        Self { edge, nginx }
    }

    async fn ask(&self, at: SocketAddr, from: [u8; 4], request: &str) -> Answer {
        let before = self.edge.received().len();
        let mut stream = self.connect(at, from).await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        // The connection may end abruptly, or linger for the rest of a body that was refused.
        while !is_whole(&bytes) && stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {}
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let received = self.edge.received();
        let new = received.get(before..).unwrap_or_default();
        Self::answer(&text, new)
    }

    /// By its address, so that a request may name any host.
    async fn connect(&self, at: SocketAddr, from: [u8; 4]) -> TlsConnection {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((from, 0))).expect("an address");
        let stream = socket.connect(at).await.expect("connected");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        TlsConnector::from(self.edge.tls_client(&[])).connect(name, stream).await.expect("TLS")
    }

    fn answer(text: &str, received: &[crate::backend::Received]) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let all: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": ").or(line.split_once(':')))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut fields: Vec<_> =
            all.into_iter().filter(|(name, _)| COMPARED.contains(&name.as_str())).collect();
        fields.sort();
        let problem = body.find("/problems/").map(|at| body[at..].split('"').next().unwrap_or_default());
        let received = received
            .iter()
            .map(|r| {
                let get =
                    |name: &str| r.headers.get(name).map_or("-", |v| v.to_str().unwrap_or("?")).to_owned();
                let untrusted = ["x-user-id", "forwarded", "upgrade", "x-real-ip"].map(get);
                format!("{} {} for {} {untrusted:?}", r.method, r.target, get("x-forwarded-for"))
            })
            .collect();
        let body = match problem {
            Some(problem) => problem.to_owned(),
            None if body.contains("\"backend\"") => "the backend's".to_owned(),
            None => body.to_owned(),
        };
        Answer { status, fields, body, received }
    }

    /// Asks both and fails unless they agree on this status.
    async fn agree(&self, from: [u8; 4], method: &str, host: &str, target: &str, fields: &str, status: u16) {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
        let edge = self.ask(self.edge.https, from, &request).await;
        let nginx = self.ask(self.nginx.https, from, &request).await;
        assert_eq!(edge, nginx, "edge, then nginx, of {from:?} {request}");
        assert_eq!(edge.status, status, "{request}");
    }
}

/// Whether an answer has come with as much of a body as it says.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

const ME: [u8; 4] = [127, 0, 0, 1];

#[tokio::test]
async fn routes_lists_and_answers_are_the_same() {
    let both = Both::start().await;
    let from = |last| [127, 0, 0, last];
    for (from, method, host, target, status) in [
        (ME, "GET", "a.example", "/", 200),
        (ME, "GET", "b.example", "/", 200),
        (ME, "GET", "A.Example:8443", "/x", 200),
        (ME, "GET", "c.example", "/", 421),
        (ME, "GET", "a.example", "/admin/", 200),
        (from(2), "GET", "a.example", "/admin/", 403),
        (ME, "GET", "b.example", "/d/x", 200),
        (from(3), "GET", "b.example", "/d/x", 403),
        (from(4), "GET", "b.example", "/d/e", 403),
        (from(2), "GET", "b.example", "/d/e/1", 403),
        (ME, "GET", "b.example", "/d/e/1/f", 200),
        (from(2), "GET", "b.example", "/d/e/1/f", 403),
        (ME, "DELETE", "b.example", "/d/e/1/f", 200),
        (ME, "PUT", "b.example", "/d/e/1/f", 200),
        (ME, "GET", "b.example", "/nobody", 403),
        (ME, "GET", "b.example", "/p/x.json", 200),
        (ME, "GET", "b.example", "/p/.json", 401),
        (ME, "GET", "b.example", "/p/x.js", 401),
        (ME, "GET", "b.example", "/p/x/", 404),
        (ME, "GET", "b.example", "/@at,here", 401),
        (ME, "GET", "a.example", "/%40at,here", 200),
        (ME, "GET", "b.example", "/old", 308),
        (ME, "GET", "b.example", "/old/a/b?c=d", 308),
        (ME, "GET", "b.example", "/old//a/%62?c=d", 308),
        (ME, "GET", "b.example", "/old/a%20b", 308),
        (ME, "POST", "b.example", "/gone/x", 302),
        (ME, "GET", "b.example", "/moved", 301),
        (ME, "GET", "b.example", "/moved/a?b", 301),
        (ME, "GET", "b.example", "/teapot.js", 418),
        (ME, "GET", "b.example", "/empty", 404),
        (ME, "GET", "b.example", "/nothing-here", 204),
        (ME, "GET", "b.example", "/admin", 308),
        (ME, "GET", "b.example", "/.hidden", 404),
        (ME, "GET", "b.example", "/a%20b", 404),
        (ME, "BREW", "b.example", "/d/x", 200),
        (ME, "TRACE", "b.example", "/d/x", 405),
    ] {
        both.agree(from, method, host, target, "", status).await;
    }
}

#[tokio::test]
async fn every_byte_of_a_path_is_taken_alike() {
    let both = Both::start().await;
    for byte in 0..=255_u8 {
        for target in [format!("/d/a%{byte:02X}b"), format!("/d/a%{byte:02x}b/c?d=%{byte:02x}")] {
            let status = match byte {
                0..=0x1f | 0x7f | b'/' | b'\\' => 400,
                _ => 200,
            };
            // The named difference: of a path that has to be spelled anew nginx would lose these encodings.
            if b"*+,:;=[]".contains(&byte) && target.contains(&format!("a%{byte:02x}b")) {
                let request =
                    format!("GET {target} HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n");
                assert_eq!(both.ask(both.nginx.https, ME, &request).await.status, 400, "{target}");
                continue;
            }
            both.agree(ME, "GET", "b.example", &target, "", status).await;
        }
    }
    for raw in (0x21..0x7f_u8).filter(|byte| !b"?#/%.".contains(byte)) {
        let status = if raw.is_ascii_alphanumeric() || b"-_~:@!$&'()*+,=".contains(&raw) { 200 } else { 400 };
        // What Pingora can't read it refuses without a word.
        let request =
            format!("GET /d/a{}b HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n", raw as char);
        for at in [both.edge.https, both.nginx.https] {
            let answer = both.ask(at, ME, &request).await;
            assert_eq!(
                (answer.status, answer.received.len()),
                (status, usize::from(status == 200)),
                "{request}"
            );
        }
    }
    for (target, status) in [
        ("//d//x", 200),
        ("/d/./x/../y", 200),
        ("/d/%2e%2E/d/x", 200),
        ("/d/x/..", 200),
        ("/d/x/.", 200),
        ("/d/%", 400),
        ("/d/%4", 400),
        ("/d/%zz", 400),
        ("/d/a;b", 400),
        ("/d/%2525", 200),
        ("/D/x", 404),
        ("/d?", 200),
        ("/d?a=/../b;c", 200),
    ] {
        both.agree(ME, "GET", "b.example", target, "", status).await;
    }
}

#[tokio::test]
async fn tokens_bodies_and_other_sites_are_judged_alike() {
    let both = Both::start().await;
    let bearer = |role| format!("Authorization: Bearer {}\r\n", both.edge.signer.token(role));
    let (user, vendor) = (bearer(Role::User), bearer(Role::Vendor));
    let other = both.edge.signer.token_with(Role::User, |_, claims| claims.sub = "x y&z".into());
    let stranger = both.edge.signer.token_with(Role::User, |_, claims| claims.sub = "mallory".into());
    let (other, stranger) =
        (format!("Authorization: Bearer {other}\r\n"), format!("Authorization: Bearer {stranger}\r\n"));
    let shop = "Origin: https://shop.example\r\n";
    let put = "Access-Control-Request-Method: PUT\r\n";
    for (method, target, fields, status) in [
        ("GET", "/claims", user.clone(), 200),
        ("GET", "/claims", other, 200),
        ("GET", "/claims", stranger, 403),
        ("GET", "/vendor", user.clone(), 403),
        ("GET", "/vendor", vendor, 200),
        ("GET", "/vendor", "Authorization: Basic eA==\r\n".into(), 401),
        ("GET", "/vendor", "Authorization: Bearer\r\n".into(), 401),
        ("GET", "/small", "Authorization: Bearer x\r\n".into(), 401),
        ("GET", "/small?access_token=1", String::new(), 400),
        ("POST", "/small", "Content-Length: 11\r\n".into(), 413),
        ("POST", "/small", "Content-Length: 11\r\nAuthorization: Bearer x\r\n".into(), 401),
        ("POST", "/d/x", "Content-Length: 1048577\r\n".into(), 413),
        ("GET", "/shared", format!("{user}{shop}"), 200),
        ("GET", "/shared", format!("{user}Origin: https://evil.example\r\n"), 200),
        ("GET", "/shared/open", "Origin: null\r\n".into(), 200),
        ("OPTIONS", "/shared", format!("{shop}{put}"), 204),
        ("OPTIONS", "/shared", format!("{shop}{put}Access-Control-Request-Headers: X-A, content-type\r\n"), 204),
        ("OPTIONS", "/shared", format!("{shop}{put}Access-Control-Request-Headers: x-b\r\n"), 403),
        ("OPTIONS", "/shared", format!("{shop}Access-Control-Request-Method: DELETE\r\n"), 403),
        ("OPTIONS", "/shared", format!("Origin: https://evil.example\r\n{put}"), 403),
        ("OPTIONS", "/shared", put.to_owned(), 401),
        ("OPTIONS", "/shared", shop.to_owned(), 401),
        ("OPTIONS", "/vendor", format!("{shop}{put}"), 401),
        ("GET", "/d/x", "X-User-Id: root\r\nForwarded: for=1\r\nX_User_Id: root\r\nUpgrade: websocket\r\nX-Forwarded-For: 1.2.3.4\r\n".into(), 200),
        ("GET", "/api/chat/ws", String::new(), 401),
        ("GET", "/api/chat/ws", "Origin: https://evil.example\r\n".into(), 403),
        ("GET", "/api/chat/ws", "Origin: null\r\n".into(), 403),
        ("GET", "/api/chat/ws", format!("Origin:\r\n{user}"), 403),
    ] {
        both.agree(ME, method, "b.example", target, &fields, status).await;
    }
}

#[tokio::test]
async fn files_are_served_alike() {
    let both = Both::start_with(|config| {
        rich(config)
            + "\n[[routes]]\nbelow = \"/app\"\nfiles = { folder = \"web\", fallback = \"index.html\" }\n"
    })
    .await;
    let web = both.edge.folder().join("web");
    std::fs::create_dir_all(web.join("app/.git")).expect("a folder");
    for name in [
        "app/app-3f9a2c1b.js",
        "app/notes.txt",
        "app/.git/config",
        "app/a@b.txt",
        "app/x.unknown",
        "app/p.svg",
    ] {
        std::fs::write(web.join(name), "0123456789").expect("a file");
    }
    std::os::unix::fs::symlink("/etc/passwd", web.join("app/link.txt")).expect("a link");
    for (method, target, fields, status) in [
        ("GET", "/app/app-3f9a2c1b.js", "", 200),
        ("HEAD", "/app/app-3f9a2c1b.js", "", 200),
        ("GET", "/app/notes.txt", "Range: bytes=2-4\r\n", 206),
        ("GET", "/app/notes.txt", "Range: bytes=0-1,3-4\r\n", 200),
        ("GET", "/app/notes.txt", "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT\r\n", 304),
        ("GET", "/app/notes.txt/", "", 404),
        ("GET", "/app/.git/config", "", 404),
        ("GET", "/app/link.txt", "", 404),
        ("GET", "/app/a@b.txt", "", 200),
        ("GET", "/app/a%40b.txt", "", 404),
        ("GET", "/app/x.unknown", "", 200),
        ("GET", "/app/p.svg", "", 200),
        ("PUT", "/app/notes.txt", "", 405),
        ("GET", "/app/some/page", "Accept: text/html, */*;q=0.5\r\n", 200),
        ("GET", "/app/some/page", "Accept: text/html;q=0, */*\r\n", 404),
        ("GET", "/app/some/page", "Accept: application/json\r\n", 404),
        ("GET", "/app/some/page.js", "Accept: text/html\r\n", 404),
        ("GET", "/app", "", 404),
        ("GET", "/admin?x", "", 308),
    ] {
        both.agree(ME, method, "b.example", target, fields, status).await;
    }
    // The named difference: nginx has its fields ready by then, and says them twice.
    for (field, status) in
        [("Range: bytes=99-", 416), ("If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT", 412)]
    {
        let request =
            format!("GET /app/notes.txt HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n{field}\r\n\r\n");
        for at in [both.edge.https, both.nginx.https] {
            let answer = both.ask(at, ME, &request).await;
            assert_eq!((answer.status, answer.body.starts_with("/problems/")), (status, true), "{request}");
        }
    }
}

#[tokio::test]
async fn a_connection_is_for_the_name_that_it_was_made_to() {
    let both = Both::start().await;
    for at in [both.edge.https, both.nginx.https] {
        for (name, host, expected) in [
            ("localhost", "localhost", Some("200")),
            ("localhost", "b.example", Some("421")),
            ("localhost", "c.example", Some("421")),
            ("c.example", "c.example", None),
        ] {
            let stream = tokio::net::TcpStream::connect(at).await.expect("connected");
            let server = ServerName::try_from(name).expect("a name");
            let stream = TlsConnector::from(both.edge.tls_client(&[])).connect(server, stream).await;
            let Some(expected) = expected else {
                assert!(stream.is_err(), "{name} {at}");
                continue;
            };
            let mut stream = stream.expect("TLS");
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut line = [0; 12];
            stream.read_exact(&mut line).await.expect("an answer");
            assert_eq!(String::from_utf8_lossy(&line), format!("HTTP/1.1 {expected}"), "{name} {host} {at}");
        }
    }
}

#[tokio::test]
async fn two_tokens_are_refused_by_both() {
    let both = Both::start().await;
    let token = both.edge.signer.token(Role::User);
    let fields = format!("Authorization: Bearer {token}\r\n").repeat(2);
    let request = format!("GET /claims HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n{fields}\r\n");
    for at in [both.edge.https, both.nginx.https] {
        assert_eq!(both.ask(at, ME, &request).await.status, 400);
    }
}

#[tokio::test]
async fn a_websocket_is_opened_where_the_policy_says_so() {
    let both = Both::start().await;
    let asked = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (target, origin, status) in [
        ("/api/chat/ws", "https://b.example", 101),
        ("/api/chat/ws", "https://evil.example", 403),
        ("/d/x", "https://b.example", 200),
    ] {
        // Whoever agrees keeps the connection: only the first line is waited for.
        let request = format!("GET {target} HTTP/1.1\r\nHost: b.example\r\nOrigin: {origin}\r\n{asked}\r\n");
        for at in [both.edge.https, both.nginx.https] {
            let mut stream = both.connect(at, ME).await;
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut line = [0; 12];
            stream.read_exact(&mut line).await.expect("an answer");
            assert_eq!(
                String::from_utf8_lossy(&line),
                format!("HTTP/1.1 {status}"),
                "{target} {origin} {at}"
            );
        }
    }
}

#[tokio::test]
async fn what_fails_is_tried_elsewhere_where_it_is_safe() {
    let mut both = Both::start().await;
    let request = |method: &str| {
        format!("{method} /d/x HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    };
    // Broken off by one of them: a GET goes to the other, a POST or PUT doesn't.
    for (method, status) in [("GET", 200), ("POST", 502), ("PUT", 502)] {
        for at in [both.edge.https, both.nginx.https] {
            both.edge.backends[0].break_next(1);
            both.edge.backends[1].break_next(0);
            let answers =
                [both.ask(at, ME, &request(method)).await, both.ask(at, ME, &request(method)).await];
            let mut statuses = answers.map(|answer| answer.status);
            statuses.sort_unstable();
            assert_eq!(statuses, [200, status], "{method} {at}");
        }
    }
    both.edge.backends[0].kill();
    for _ in 0..4 {
        for method in ["GET", "POST"] {
            assert_eq!(both.ask(both.nginx.https, ME, &request(method)).await.status, 200, "{method}");
        }
    }
    both.edge.backends[1].kill();
    for method in ["GET", "POST", "PUT"] {
        let answer = both.ask(both.nginx.https, ME, &request(method)).await;
        assert_eq!((answer.status, answer.body.as_str()), (503, "/problems/unavailable"), "{method}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_for_whom_it_speaks() {
    let trusting = |config: String| {
        rich(config.replace("trusted_proxies = []", "trusted_proxies = [\"127.0.0.5/32\", \"10.0.0.0/8\"]"))
    };
    let both = Both::start_with(trusting).await;
    let proxy = [127, 0, 0, 5];
    for (from, fields, status) in [
        (proxy, "X-Forwarded-For: 127.0.0.3\r\n", 403),
        (proxy, "X-Forwarded-For: 127.0.0.3, 198.51.100.1\r\n", 200),
        (proxy, "X-Forwarded-For: 127.0.0.3, 10.1.1.1\r\n", 403),
        (proxy, "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 127.0.0.3\r\n", 403),
        (proxy, "X-Forwarded-For: unknown, 198.51.100.1\r\n", 200),
        (proxy, "X-Forwarded-For: 198.51.100.1, unknown\r\n", 400),
        (proxy, "X-Forwarded-For: 10.1.1.1\r\n", 200),
        (proxy, "X-Forwarded-For: unknown, 10.1.1.1\r\n", 400),
        (proxy, "X-Forwarded-For: 2001:db8::7\r\n", 200),
        (proxy, "X-Forwarded-For: ::ffff:127.0.0.3\r\n", 403),
        (proxy, "", 200),
        ([127, 0, 0, 3], "X-Forwarded-For: 127.0.0.1\r\n", 403),
    ] {
        both.agree(from, "GET", "b.example", "/d/x", fields, status).await;
    }
}

#[tokio::test]
async fn limits_that_add_up_refuse_the_same_request() {
    let both = Both::start().await;
    for status in [200, 200, 200, 429] {
        let request = "GET /limited/more HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n";
        for at in [both.edge.https, both.nginx.https] {
            assert_eq!(both.ask(at, ME, request).await.status, status);
        }
    }
}
