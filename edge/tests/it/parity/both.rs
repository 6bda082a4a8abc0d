//! The edge and nginx on the same policy, in front of the same backends, and what is compared of their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access_token::{REVOCATIONS_KEY, Revocation, Role};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::case::{Case, Port};
use crate::backend::Received;
use crate::edge_process::{Edge, TlsConnection, shipped_config};
use crate::nginx_process::Nginx;
use crate::redis_process::Redis;
use crate::tls::curious;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Fields of a connection or of the moment, not of the answer.
const PASSING: [&str; 4] = ["date", "connection", "keep-alive", "transfer-encoding"];
/// Fields that differ in every answer: compared only where a case names them.
const STANDING: [&str; 5] = ["server", "etag", "x-request-id", "ratelimit", "ratelimit-policy"];

pub(crate) struct Both {
    pub(crate) edge: Edge,
    pub(crate) nginx: Nginx,
    pub(crate) tokens: Tokens,
    _redis: Arc<Redis>,
}

/// Tokens good and bad, by the names that stand for them in cases.
pub(crate) struct Tokens(Vec<(&'static str, String)>);

/// Everything that is compared: `verdict`, `body`, `field NAME`, `backend`, `backend field NAME` …
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) verdict: String,
    pub(crate) parts: BTreeMap<String, String>,
}

impl Both {
    /// On the shipped policy, changed by `change`.
    pub(crate) async fn start_with(change: impl Fn(String) -> String) -> Self {
        Self::start_beside(revocations(), change).await
    }

    /// The same, with a Redis that runs already: see [`revocations`].
    pub(crate) async fn start_beside(redis: Arc<Redis>, change: impl Fn(String) -> String) -> Self {
        let ended = Revocation::Session { id: "ended".into() };
        let change = |config: String| {
            let line = config.lines().find(|line| line.starts_with("password_file = ")).expect("a password");
            let config = config
                .replace(line, &format!("password_file = \"{}\"", redis.password_file().display()))
                .replace("redis = \"none\"", &format!("redis = \"{}\"", redis.url()));
            change(config)
        };
        let edge = Edge::start_with(change).await;
        edge.wait_until("revocations are known", async || {
            edge.metric("edge_revocation_feed_up").await == 1.0
        })
        .await;
        edge.backends.iter().for_each(|backend| backend.revoke(&ended));
        let nginx =
            Nginx::start(edge.folder(), |ports| change(shipped_config(&edge.backends, edge.folder(), ports)));
        Self { tokens: Tokens::of(&edge), edge, nginx, _redis: redis }
    }

    /// Sends a case to both.
    pub(crate) async fn ask(&self, case: &Case) -> [Answer; 2] {
        [self.ask_one(0, case).await, self.ask_one(1, case).await]
    }

    /// The verdict of one: 0 is the edge.
    pub(crate) async fn ask_nth(&self, gateway: usize, case: &Case) -> String {
        self.ask_one(gateway, case).await.verdict
    }

    async fn ask_one(&self, gateway: usize, case: &Case) -> Answer {
        let ports = match gateway {
            0 => [self.edge.https, self.edge.http, self.edge.admin],
            _ => [self.nginx.https, self.nginx.http, self.nginx.admin],
        };
        let before = self.before();
        let fields = self.tokens.put_into(case.fields);
        let close = if fields.contains("Connection:") { "" } else { "Connection: close\r\n" };
        let request = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n{close}{fields}\r\n{}",
            case.method, case.target, case.host, case.body
        );
        let at = ports[match case.port {
            Port::Https => 0,
            Port::Plain => 1,
            Port::Admin => 2,
        }];
        let text = match case.port {
            Port::Https => match self.connect(at, case.from.into(), case.sni).await {
                Ok(stream) => exchange(stream, &request).await,
                Err(_) => String::new(),
            },
            _ => exchange(dial(at, case.from.into()).await, &request).await,
        };
        let text = text.replace(&format!(":{}", ports[0].port()), ":PORT");
        Answer::read(&text, &self.since(before))
    }

    /// A connection that names this host, or none: then a request may name any.
    async fn connect(
        &self,
        at: SocketAddr,
        from: std::net::IpAddr,
        sni: Option<&str>,
    ) -> std::io::Result<TlsConnection> {
        let name = ServerName::try_from(sni.unwrap_or("127.0.0.1").to_owned()).expect("a name");
        // Which certificate is shown, names decide; whether it is good isn't asked here.
        let client = curious(rustls::DEFAULT_VERSIONS);
        TlsConnector::from(client).connect(name, dial(at, from).await).await
    }

    /// Any request to one, over TLS; 0 is the edge.
    pub(crate) async fn ask_raw(&self, gateway: usize, from: std::net::IpAddr, request: &str) -> Answer {
        let port = [self.edge.https, self.nginx.https][gateway].port();
        let at = SocketAddr::new(if from.is_ipv6() { from } else { [127, 0, 0, 1].into() }, port);
        let before = self.before();
        let stream = self.connect(at, from, None).await.expect("TLS");
        let text = exchange(stream, request).await.replace(&format!(":{port}"), ":PORT");
        Answer::read(&text, &self.since(before))
    }

    fn before(&self) -> [usize; 2] {
        self.edge.backends.each_ref().map(|backend| backend.received().len())
    }

    fn since(&self, before: [usize; 2]) -> Vec<Received> {
        let received = self.edge.backends.iter().zip(before);
        received.flat_map(|(backend, before)| backend.received().split_off(before)).collect()
    }
}

/// A Redis in which the session of `{revoked}` has ended.
pub(crate) fn revocations() -> Arc<Redis> {
    let mut redis = Redis::new();
    redis.start();
    let ended = Revocation::Session { id: "ended".into() };
    redis.cli(&["ZADD", REVOCATIONS_KEY, &now_ms(), &ended.to_string()]);
    Arc::new(redis)
}

fn now_ms() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    now.as_millis().to_string()
}

async fn dial(at: SocketAddr, from: std::net::IpAddr) -> tokio::net::TcpStream {
    let socket = match from.is_ipv4() {
        true => tokio::net::TcpSocket::new_v4(),
        false => tokio::net::TcpSocket::new_v6(),
    };
    let socket = socket.expect("a socket");
    socket.bind(SocketAddr::new(from, 0)).expect("an address of this machine");
    socket.connect(at).await.expect("connected")
}

/// Sends a request and reads its answer: to the length that it says, or to the end.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        // A refused body is cut short: an answer may be there all the same.
        let _ = stream.write_all(request.as_bytes()).await;
        // The connection may end abruptly, or linger for the rest of a body that was refused.
        while !is_whole(&bytes) && stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {}
    };
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    head.starts_with("HTTP/1.1 101") || length.is_some_and(|length: usize| body.len() >= length)
}

impl Answer {
    fn read(text: &str, received: &[Received]) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("0").to_owned();
        let mut parts = BTreeMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let name = name.to_ascii_lowercase();
            if !PASSING.contains(&name.as_str()) {
                let value = value.trim();
                add(&mut parts, format!("field {name}"), value);
            }
        }
        // A length says what the body is: that is compared, and ids and names of backends in it aren't.
        if let Some(vary) = parts.get_mut("field vary") {
            // A set of names, in any case.
            let names: BTreeSet<_> =
                vary.split([',', '|']).map(|name| name.trim().to_ascii_lowercase()).collect();
            *vary = names.into_iter().collect::<Vec<_>>().join(", ");
        }
        if parts.get("field content-type").is_some_and(|kind| kind.contains("json")) {
            parts.remove("field content-length");
        }
        let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
        let problem = json.as_ref().and_then(|json| json["type"].as_str()?.strip_prefix("/problems/"));
        let is_backends = json.as_ref().is_some_and(|json| json["backend"].is_string());
        let verdict = match (problem, is_backends) {
            (Some(problem), _) => format!("{status} {problem}"),
            (None, true) => format!("{status} backend"),
            (None, false) => status,
        };
        match &json {
            Some(serde_json::Value::Object(json)) => {
                for (name, value) in
                    json.iter().filter(|(name, _)| !["backend", "request_id"].contains(&name.as_str()))
                {
                    parts.insert(format!("body {name}"), value.to_string());
                }
            }
            _ => drop(parts.insert("body".to_owned(), body.to_owned())),
        }
        for received in received {
            add(&mut parts, "backend".to_owned(), &format!("{} {}", received.method, received.target));
            for (name, value) in &received.headers {
                let value = if name == "x-request-id" { "an id" } else { value.to_str().unwrap_or("?") };
                add(&mut parts, format!("backend field {name}"), value);
            }
        }
        Self { verdict, parts }
    }

    /// Parts of which the other has another, or none. Those that always differ are left out, unless they are named.
    pub(crate) fn unlike(&self, other: &Self, named: &[&str]) -> Vec<String> {
        let names: BTreeSet<_> = self.parts.keys().chain(other.parts.keys()).collect();
        names
            .into_iter()
            .filter(|name| self.parts.get(*name) != other.parts.get(*name))
            .filter(|name| {
                let standing = name.strip_prefix("field ").is_some_and(|name| STANDING.contains(&name));
                !standing || named.contains(&name.as_str())
            })
            .cloned()
            .collect()
    }
}

/// Fields that come twice are told together.
fn add(parts: &mut BTreeMap<String, String>, name: String, value: &str) {
    let known = parts.entry(name).or_default();
    if !known.is_empty() {
        known.push_str(" | ");
    }
    known.push_str(value);
}

impl Tokens {
    fn of(edge: &Edge) -> Self {
        let signer = &edge.signer;
        let sub = |sub: &str| signer.token_with(Role::User, |_, claims| claims.sub = sub.into());
        let user = signer.token(Role::User);
        let (start, signature) = user.rsplit_once('.').expect("three parts");
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{start}.{flipped}{}", &signature[1..]);
        Self(vec![
            ("{forged}", forged),
            ("{vendor}", signer.token(Role::Vendor)),
            ("{admin}", signer.token(Role::Admin)),
            ("{mallory}", sub("mallory")),
            ("{spaced}", sub("x y&z")),
            ("{expired}", signer.token_with(Role::User, |_, claims| claims.exp = claims.iat - 600)),
            ("{early}", signer.token_with(Role::User, |_, claims| claims.nbf = Some(claims.iat + 600))),
            ("{elsewhere}", signer.token_with(Role::User, |_, claims| claims.aud = "other".into())),
            ("{revoked}", signer.token_with(Role::User, |_, claims| claims.sid = "ended".into())),
            ("{user}", user),
        ])
    }

    pub(crate) fn put_into(&self, fields: &str) -> String {
        self.0.iter().fold(fields.to_owned(), |fields, (name, token)| fields.replace(name, token))
    }
}
