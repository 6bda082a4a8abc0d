//! Accepts HTTP/1.1 connections and answers them with a router, until told to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::problem::{self, Problem};
use crate::request_id;

/// Connections at once; more wait in the kernel's queue. Sockets of the chat leave this count when they open.
const MAX_CONNECTIONS: usize = 4096;

/// How long a connection may take over a request's head, and stay idle between two. The gateway keeps its
/// connections for less, so that it never sends a request into one that is just being closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);

/// No route takes longer; what does is answered with 503.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// After a failed accept (no descriptors left), others get the time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One listener and its connections.
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds `address` and serves `router` on it.
    pub async fn start(address: SocketAddr, router: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let address = listener.local_addr()?;
        let router = router
            .fallback(async || Problem::not_found("There is nothing at this path."))
            .layer(axum::middleware::from_fn(answer));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(accept(listener, router, stop.clone(), tasks.clone()));
        Ok(Self { address, stop, tasks })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests in flight finish for at most `grace`, and closes what is left.
    pub async fn stop(self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "requests were cut off");
        }
    }
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken, tasks: TaskTracker) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => return,
            permit = permits.clone().acquire_owned() => permit.expect("never closed"),
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone(), stop.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection couldn't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended");
    }
}

/// What holds for every answer: a request id, an end in time, problems instead of bare errors, no way out for a
/// panic.
async fn answer(request: Request, next: Next) -> Result<Response, Infallible> {
    let id = request_id::of(request.headers());
    let header = HeaderValue::from_str(&id).expect("an acceptable id is a header's value");
    let mut response = request_id::scope(id, async move {
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
        match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(Ok(response)) => as_problem(response),
            Ok(Err(panic)) => Problem::internal(&panic_message(&*panic)).into_response(),
            Err(_) => {
                Problem::unavailable(&"the request took too long", Duration::from_secs(1)).into_response()
            }
        }
    })
    .await;
    response.headers_mut().insert(request_id::HEADER, header);
    Ok(response)
}

/// Errors of the framework itself (405, a refused upgrade) become problems too; their headers stay.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_bare = (status.is_client_error() || status.is_server_error())
        && response.headers().get(header::CONTENT_TYPE) != Some(&problem::MEDIA_TYPE);
    if !is_bare {
        return response;
    }
    let problem = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method-not-allowed", "This path doesn't take this method.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => crate::extract::too_large(),
        StatusCode::UPGRADE_REQUIRED => {
            Problem::new(status, "upgrade-required", "This path takes WebSockets.")
        }
        status if status.is_server_error() => {
            Problem::new(status, "internal", "Something went wrong on our side.")
        }
        status => Problem::new(status, "bad-request", "The request can't be answered as it is."),
    };
    let (mut parts, _) = response.into_parts();
    let (problem, body) = problem.into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(problem.headers);
    Response::from_parts(parts, body)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: Router, method: &str, path: &str) -> (Response<()>, serde_json::Value) {
        let request = Request::builder().method(method).uri(path).header("x-request-id", "r-1");
        let request = request.body(Body::empty()).expect("a request");
        let response =
            router.layer(axum::middleware::from_fn(answer)).oneshot(request).await.expect("answered");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("read").to_bytes();
        (Response::from_parts(parts, ()), serde_json::from_slice(&bytes).expect("json"))
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_its_cause() {
        let router = Router::new().route("/", get(async || -> StatusCode { panic!("the secret is 7") }));
        let (response, body) = ask(router, "GET", "/").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], problem::MEDIA_TYPE);
        assert_eq!(body["request_id"], "r-1");
        assert!(!body.to_string().contains("secret"), "{body}");
    }

    #[tokio::test]
    async fn a_wrong_method_is_a_problem_that_says_which_are_right() {
        let router = Router::new().route("/", get(async || "ok"));
        let (response, body) = ask(router, "DELETE", "/").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
        assert_eq!(response.headers()["x-request-id"], "r-1");
        assert_eq!(body["type"], "/problems/method-not-allowed");
    }
}
