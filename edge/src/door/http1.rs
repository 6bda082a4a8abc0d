//! HTTP/1: one request after the other. A header is read whole, in time, and looked at, before Pingora sees a byte of it.

use std::sync::Arc;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::time::timeout;

use super::capacity::{Full, Place};
use super::head::{self, BodyLength, HeadScanner};
use super::stream::ClientStream;
use super::{Door, refusal};
use crate::connection::{self, Served};
use crate::problem::Problem;

/// Requests on one connection; then its memory is given back.
const MOST_REQUESTS: u32 = 10_000;

/// A request whose header has been read.
struct Next {
    /// Header and body; `u64::MAX` where only its chunks say.
    bytes: u64,
    header_bytes: usize,
}

/// Why there is no next request.
enum NoRequest {
    /// The client is gone, or had nothing to say.
    Gone,
    /// It is told why.
    Refused(Problem),
}

/// Serves a connection to its end.
pub(super) async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    mut stream: Box<ClientStream>,
    door: &Door,
    place: &Place,
    shutdown: &ShutdownWatch,
) {
    for left in (0..MOST_REQUESTS).rev() {
        let is_first = left == MOST_REQUESTS - 1;
        let request = match next_request(&mut stream, door, is_first, shutdown).await {
            Ok(request) => request,
            Err(NoRequest::Gone) => return stream.close().await,
            Err(NoRequest::Refused(problem)) => {
                return refusal::refuse(&mut stream, place.client(), &problem).await;
            }
        };
        let _at_work = match place.begin_request(request.header_bytes) {
            Ok(at_work) => at_work,
            Err(Full::GivenAway) => return,
            Err(_) => return refusal::refuse(&mut stream, place.client(), &Problem::unavailable()).await,
        };
        stream.allow(request.bytes);
        let served = Served { connection: Arc::clone(stream.connection()), ..Served::default() };
        let mut session = ServerSession::new_http1(stream);
        // Between requests it is this loop that waits.
        session.set_keepalive((!*shutdown.borrow()).then(|| door.policy.idle_timeout.as_secs().max(1)));
        session.set_keepalive_reuses_remaining(Some(left));
        let answered =
            connection::serve(served, door.policy.body_pace, app.process_new_http(session, shutdown)).await;
        let Some(reused) = answered.flatten() else { return };
        let (transport, _settings) = reused.consume();
        stream = transport.into_any().downcast().expect("Pingora gives back the stream that it was given");
    }
}

/// Waits for the next request and reads its header.
async fn next_request(
    stream: &mut ClientStream,
    door: &Door,
    is_first: bool,
    shutdown: &ShutdownWatch,
) -> Result<Next, NoRequest> {
    let policy = &door.policy;
    // Who has just connected wants something.
    let patience = if is_first { policy.header_timeout } else { policy.idle_timeout };
    if stream.early().is_empty() {
        let mut shutdown = shutdown.clone();
        tokio::select! {
            biased;
            read = timeout(patience, stream.read_early()) => match read {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => return Err(NoRequest::Gone),
            },
            _ = shutdown.wait_for(|is_shutting_down| *is_shutting_down) => return Err(NoRequest::Gone),
        }
    }
    match timeout(policy.header_timeout, read_head(stream, door)).await {
        Ok(read) => read,
        Err(_) => Err(NoRequest::Refused(refusal::too_slow())),
    }
}

async fn read_head(stream: &mut ClientStream, door: &Door) -> Result<Next, NoRequest> {
    let refused = |flaw| NoRequest::Refused(refusal::problem_of(flaw));
    let mut scanner = HeadScanner::default();
    let mut may_skip = true;
    loop {
        // An empty line before a request is forgiven, once (RFC 9112, section 2.2).
        if may_skip && stream.early().starts_with(b"\r\n") {
            stream.skip(2);
            may_skip = false;
        }
        if !(may_skip && stream.early() == b"\r") {
            may_skip &= stream.early().is_empty();
            if let Some(length) = scanner.scan(stream.early(), &door.head_limits).map_err(refused)? {
                let body = head::check(&stream.early()[..length], &door.head_limits).map_err(refused)?;
                let bytes = match body {
                    BodyLength::Bytes(bytes) => length as u64 + bytes,
                    BodyLength::Chunked => u64::MAX,
                };
                return Ok(Next { bytes, header_bytes: length });
            }
        }
        match stream.read_early().await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(NoRequest::Gone),
        }
    }
}
