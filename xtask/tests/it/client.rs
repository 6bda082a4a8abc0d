//! A person with a browser: an address, a token, HTTPS that trusts the stack's CA, a chat socket.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use reqwest::{Certificate, Method, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::stack::StackFile;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A person, signed in.
pub(crate) struct Person {
    http: reqwest::Client,
    base: String,
    address: Ipv4Addr,
    ca: Vec<u8>,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

/// A client of the edge at this address, not signed in.
pub(crate) fn browser(stack: &StackFile, address: Ipv4Addr) -> reqwest::Client {
    // Another test of this process may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = std::fs::read(&stack.ca).expect("the CA");
    reqwest::Client::builder()
        .tls_certs_only([Certificate::from_pem(&ca).expect("a certificate")])
        .resolve("localhost", SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port_of(&stack.https)))
        .local_address(IpAddr::V4(address))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .expect("a client")
}

impl Person {
    /// Signs in as this subject of the development provider, from this address.
    pub(crate) async fn sign_in(stack: &StackFile, subject: &str, address: Ipv4Addr) -> Self {
        let http = browser(stack, address);
        let nonce = format!("nonce-of-{subject}");
        let minted: Value = http
            .post(format!("{}/google/mint", stack.identity_provider))
            .json(&json!({"sub": subject, "name": subject, "nonce": nonce}))
            .send()
            .await
            .expect("the provider answers")
            .json()
            .await
            .expect("an id_token");
        let login = json!({"provider": "google", "id_token": minted["id_token"], "nonce": nonce});
        let response = http
            .post(format!("{}/api/auth/login", stack.https))
            .json(&login)
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap_or_default());
        let tokens: Value = response.json().await.expect("tokens");
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(900)));
        let token = |name: &str| tokens[name].as_str().expect("a token").to_owned();
        Self {
            http,
            base: stack.https.clone(),
            address,
            ca: std::fs::read(&stack.ca).expect("the CA"),
            access_token: token("access_token"),
            refresh_token: token("refresh_token"),
        }
    }

    /// Sends a request through the edge; gives status and body.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.access_token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(body)).await
    }

    /// A chat socket through the edge, opened by ticket as a browser would.
    pub(crate) async fn chat(&self) -> Chat {
        let (status, ticket) = self.post("/api/chat/ws-ticket", json!({})).await;
        assert_eq!(status, StatusCode::OK, "{ticket}");
        let url =
            format!("{}/api/chat/ws?ticket={}", self.base, ticket["ticket"].as_str().expect("a ticket"));
        let mut request = url.replacen("https", "wss", 1).into_client_request().expect("a request");
        request.headers_mut().insert("origin", self.base.parse().expect("a value"));
        let (socket, _) = client_async(request, self.tls().await).await.expect("a socket");
        Chat::over(socket)
    }

    /// A chat socket at one backend, past the edge.
    pub(crate) async fn chat_at(&self, api: &str) -> Chat {
        let url = format!("{}/api/chat/ws", api.replacen("http", "ws", 1));
        let mut request = url.into_client_request().expect("a request");
        let bearer = format!("Bearer {}", self.access_token);
        request.headers_mut().insert("authorization", bearer.parse().expect("a value"));
        let address = api.strip_prefix("http://").expect("a URL");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (socket, _) = client_async(request, stream).await.expect("a socket");
        Chat::over(socket)
    }

    async fn tls(&self) -> impl AsyncRead + AsyncWrite + Unpin + Send + use<> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.ca).expect("a certificate")).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(IpAddr::V4(self.address), 0)).expect("an address of ours");
        let edge = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port_of(&self.base));
        let stream = socket.connect(edge).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
    }
}

trait Frames:
    futures_util::Sink<Message, Error = tokio_tungstenite::tungstenite::Error>
    + futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>
    + Unpin
    + Send
{
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Frames for WebSocketStream<S> {}

/// An open chat socket.
pub(crate) struct Chat {
    frames: Box<dyn Frames>,
}

impl Chat {
    fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(socket: WebSocketStream<S>) -> Self {
        Self { frames: Box::new(socket) }
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.frames.send(Message::text(frame.to_string())).await.expect("sent");
    }

    /// The next frame of this type; others that come meanwhile are passed over.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        let wait = async {
            while let Some(Ok(message)) = self.frames.next().await {
                let Message::Text(text) = message else { continue };
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if frame["type"] == kind {
                    return frame;
                }
            }
            panic!("the socket ended before a `{kind}` came");
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no `{kind}` came"))
    }
}

/// Tries until it works; gives how long that took.
pub(crate) async fn until(what: &str, limit: Duration, attempt: impl AsyncFn() -> bool) -> Duration {
    let started = Instant::now();
    while !attempt().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    started.elapsed()
}

pub(crate) fn port_of(url: &str) -> u16 {
    url.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// A loopback address that isn't the first. Each test has its own network of them: tests of one stack share no limit.
pub(crate) fn address(last: u8) -> Ipv4Addr {
    let mut hasher = DefaultHasher::new();
    // The test's name.
    std::thread::current().name().hash(&mut hasher);
    let [second, third, ..] = hasher.finish().to_le_bytes();
    Ipv4Addr::new(127, second.max(1), third, last)
}
