//! A backend that answers with what it received, and can be made unready, failing, hanging, broken or dead. `?wait_ms=`
//! makes it wait, `?status=` fail, `?allow_origin=` open itself to another site.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access_token::{Credentials, Denial, KeySet, Question, Revocation, Revocations, TokenError, Verifier};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

/// A backend on two ports of its own.
pub(crate) struct EchoBackend {
    pub(crate) api: SocketAddr,
    pub(crate) management: SocketAddr,
    state: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    ready: AtomicBool,
    verifies: AtomicBool,
    broken: AtomicUsize,
    status: AtomicU16,
    hanging: watch::Sender<bool>,
    jwks: Mutex<String>,
    key_fetches: AtomicUsize,
    sockets: AtomicUsize,
    revocations: Revocations,
    name: String,
}

impl EchoBackend {
    /// Starts a backend that publishes `jwks`.
    pub(crate) fn start(jwks: &str) -> Self {
        let port = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let listeners = [port(), port()];
        let [api, management] = [0, 1].map(|index| listeners[index].local_addr().expect("an address"));
        let state = Arc::new(Shared {
            received: Mutex::default(),
            ready: AtomicBool::new(true),
            verifies: AtomicBool::new(true),
            broken: AtomicUsize::new(0),
            status: AtomicU16::new(200),
            hanging: watch::Sender::new(false),
            jwks: Mutex::new(jwks.to_owned()),
            key_fetches: AtomicUsize::new(0),
            sockets: AtomicUsize::new(0),
            revocations: Revocations::default(),
            name: api.to_string(),
        });
        let runtime = Some(serve(listeners, &state));
        Self { api, management, state, runtime }
    }

    /// Starts it again after it was killed, at the same addresses.
    pub(crate) fn start_again(&mut self) {
        let listen = |address| loop {
            match std::net::TcpListener::bind(address) {
                Ok(listener) => return listener,
                // What was there is still going.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        self.runtime = Some(serve([listen(self.api), listen(self.management)], &self.state));
    }

    /// All requests so far, health checks and key fetches left out.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("not poisoned").clone()
    }

    /// From now on it answers a gateway so.
    pub(crate) fn revoke(&self, revocation: &Revocation) {
        self.state.revocations.revoke(revocation);
    }

    /// Publishes other keys.
    pub(crate) fn set_jwks(&self, jwks: &str) {
        jwks.clone_into(&mut self.state.jwks.lock().expect("not poisoned"));
    }

    /// How often the keys were asked for.
    pub(crate) fn key_fetches(&self) -> usize {
        self.state.key_fetches.load(Ordering::SeqCst)
    }

    /// WebSockets that are open.
    pub(crate) fn open_sockets(&self) -> usize {
        self.state.sockets.load(Ordering::SeqCst)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.state.ready.store(ready, Ordering::SeqCst);
    }

    /// Whether it tells a gateway about tokens.
    pub(crate) fn set_verifying(&self, verifies: bool) {
        self.state.verifies.store(verifies, Ordering::SeqCst);
    }

    /// The next `requests` are read and then never answered: their connections break.
    pub(crate) fn break_next(&self, requests: usize) {
        self.state.broken.store(requests, Ordering::SeqCst);
    }

    /// Answers every request with this status from now on.
    pub(crate) fn set_status(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    /// While it hangs, it takes requests and answers none; it still says that it is ready.
    pub(crate) fn set_hanging(&self, hanging: bool) {
        self.state.hanging.send_replace(hanging);
    }

    /// Ends the backend at once, with its open connections.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for EchoBackend {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(listeners: [std::net::TcpListener; 2], state: &Arc<Shared>) -> Runtime {
    let runtime = Runtime::new().expect("a runtime");
    let guard = runtime.enter();
    let service = Router::new()
        .route("/.well-known/jwks.json", get(key_set))
        .route("/api/chat/ws", any(socket))
        .fallback(echo)
        .with_state(Arc::clone(state));
    let readiness = Router::new()
        .route("/gateway/token", get(gateway_token))
        .fallback(readiness)
        .with_state(Arc::clone(state));
    for (listener, router) in listeners.into_iter().zip([service, readiness]) {
        listener.set_nonblocking(true).expect("non-blocking");
        let listener = TcpListener::from_std(listener).expect("a listener");
        runtime.spawn(async { axum::serve(listener, router).await });
    }
    drop(guard);
    runtime
}

async fn echo(State(state): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 1 << 20).await else {
        // Broken off on the way.
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut hanging = state.hanging.subscribe();
    if parts.uri.path().starts_with("/actuator") {
        hanging.wait_for(|hanging| !hanging).await.expect("the state lives");
        return StatusCode::NOT_FOUND.into_response();
    }
    state.received.lock().expect("not poisoned").push(Received {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
    });
    hanging.wait_for(|hanging| !hanging).await.expect("the state lives");
    let break_off = |left: usize| left.checked_sub(1);
    if state.broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, break_off).is_ok() {
        // A panic in the handler makes hyper drop the connection unanswered.
        std::panic::resume_unwind(Box::new("broken on purpose"));
    }
    let asked = |key: &str| {
        let query = parts.uri.query().unwrap_or_default();
        query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    };
    if let Some(wait) = asked("wait_ms").and_then(|ms| ms.parse().ok()) {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    let answer = Json(
        json!({ "backend": state.name, "target": parts.uri.to_string(), "body": String::from_utf8_lossy(&body) }),
    );
    let mut response = ([("server", "echo/1.0"), ("x-powered-by", "echo")], answer).into_response();
    let status = asked("status").and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| state.status.load(Ordering::SeqCst));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    if let Some(origin) = asked("allow_origin").and_then(|origin| origin.parse().ok()) {
        response.headers_mut().insert("access-control-allow-origin", origin);
    }
    response
}

/// No keys at all, an empty document, stands for a source that fails.
async fn key_set(State(state): State<Arc<Shared>>) -> Response {
    state.key_fetches.fetch_add(1, Ordering::SeqCst);
    let jwks = state.jwks.lock().expect("not poisoned").clone();
    if jwks.is_empty() { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { jwks.into_response() }
}

/// As a real backend answers nginx.
async fn gateway_token(State(state): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let question = headers.get("x-gateway-question").and_then(|value| Question::parse(value.to_str().ok()?));
    let Some(question) = question.filter(|_| state.verifies.load(Ordering::SeqCst)) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let all = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let credentials = Credentials {
        authorization: all("authorization"),
        origin: all("origin"),
        host: headers["host"].as_bytes(),
    };
    let keys = KeySet::from_jwks(state.jwks.lock().expect("not poisoned").as_bytes()).expect("keys");
    let verify = |token: &str| {
        let claims = Verifier::new("daemun", "daemun").verify(&keys, token)?;
        if state.revocations.is_revoked(&claims) { Err(TokenError::Revoked) } else { Ok(Arc::new(claims)) }
    };
    match question.answer(&credentials, verify) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(Denial { problem, detail, challenge, .. }) => {
            let told = [("x-gateway-problem", problem), ("x-gateway-detail", detail)];
            let mut response = (StatusCode::FORBIDDEN, told).into_response();
            if let Some(challenge) = challenge {
                response.headers_mut().insert("x-gateway-challenge", HeaderValue::from_static(challenge));
            }
            response
        }
    }
}

async fn readiness(State(state): State<Arc<Shared>>) -> StatusCode {
    if state.ready.load(Ordering::SeqCst) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn socket(
    State(state): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let received = Received { method: "GET".into(), target: uri.to_string(), headers };
    state.received.lock().expect("not poisoned").push(received);
    upgrade.on_upgrade(move |socket| async move {
        state.sockets.fetch_add(1, Ordering::SeqCst);
        talk(socket).await;
        state.sockets.fetch_sub(1, Ordering::SeqCst);
    })
}

/// Says what it hears; `close CODE` ends it, `flood` makes it talk without an end.
async fn talk(mut socket: WebSocket) {
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        if let Some(code) = text.strip_prefix("close ").and_then(|code| code.parse().ok()) {
            let frame = CloseFrame { code, reason: "as asked".into() };
            let _ = socket.send(Message::Close(Some(frame))).await;
            return;
        }
        if text == "flood" {
            while socket.send(Message::Text("x".repeat(4096).into())).await.is_ok() {}
            return;
        }
        if socket.send(Message::Text(text)).await.is_err() {
            return;
        }
    }
}
