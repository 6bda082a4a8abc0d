//! HTTP/1: one request after the other. A header is read whole, in time, and looked at, before Pingora sees a byte of it.

use std::sync::Arc;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use tokio::sync::watch;
use tokio::time::timeout;

use super::capacity::{Full, Place, TUNNEL_BYTES, weight};
use super::head::{self, BodyLength, HeadScanner};
use super::refusal::{self, Refusal};
use super::stream::{ClientStream, READ_BYTES};
use super::{Door, Settings};
use crate::connection::{self, Served};
use crate::drain::{self, Phase};

/// Requests on one connection; then its memory is given back.
const MOST_REQUESTS: u32 = 10_000;

/// A request whose header has been read.
struct Next {
    /// Header and body; `u64::MAX` where only its chunks say.
    bytes: u64,
    /// What it counts for.
    weight: usize,
}

/// Why there is no next request.
enum NoRequest {
    /// The client is gone, or had nothing to say.
    Gone,
    /// It is told why.
    Refused(Refusal),
}

/// Serves a connection to its end.
pub(super) async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    mut stream: Box<ClientStream>,
    door: &Door,
    place: &Arc<Place>,
) {
    let shutdown = door.drain.watch();
    let mut end = door.drain.subscribe();
    for left in (0..MOST_REQUESTS).rev() {
        let is_first = left == MOST_REQUESTS - 1;
        let settings = door.settings();
        let request = match next_request(&mut stream, &settings, place, is_first, &mut end).await {
            Ok(request) => request,
            Err(NoRequest::Gone) => return stream.close().await,
            Err(NoRequest::Refused(problem)) => {
                return refusal::refuse(&mut stream, place.client(), &problem).await;
            }
        };
        let mut at_work = match place.begin_request(request.weight) {
            Ok(at_work) => at_work,
            Err(Full::GivenAway) => return,
            Err(_) => return refusal::refuse(&mut stream, place.client(), &Refusal::Full).await,
        };
        stream.connection().set_request_read(false);
        stream.allow(request.bytes);
        let connection = Arc::clone(stream.connection());
        let served = Served::new(Arc::clone(&connection));
        let mut session = ServerSession::new_http1(stream);
        // Between requests it is this loop that waits.
        session
            .set_keepalive((!door.drain.has_begun()).then(|| settings.policy.idle_timeout.as_secs().max(1)));
        session.set_keepalive_reuses_remaining(Some(left));
        let answered =
            connection::serve(served, settings.policy.body_pace, app.process_new_http(session, &shutdown))
                .await;
        // In any case: it holds the request, and with it a server's connection.
        let tunnel = connection.take_tunnel();
        let Some(reused) = answered.flatten() else { return };
        let (transport, _settings) = reused.consume();
        stream = transport.into_any().downcast().expect("Pingora gives back the stream that it was given");
        if let Some(tunnel) = tunnel {
            at_work.lower_to(TUNNEL_BYTES);
            return tunnel(stream).await;
        }
    }
}

/// Waits for the next request and reads its header.
async fn next_request(
    stream: &mut ClientStream,
    settings: &Settings,
    place: &Arc<Place>,
    is_first: bool,
    end: &mut watch::Receiver<Phase>,
) -> Result<Next, NoRequest> {
    let policy = &settings.policy;
    // Who has just connected wants something.
    let patience = if is_first { policy.header_timeout } else { policy.idle_timeout };
    if stream.early().is_empty() {
        tokio::select! {
            biased;
            read = timeout(patience, stream.read_early()) => match read {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => return Err(NoRequest::Gone),
            },
            () = drain::reached(end, Phase::ClosingIdle) => return Err(NoRequest::Gone),
        }
    }
    match timeout(policy.header_timeout, read_head(stream, settings, place)).await {
        Ok(read) => read,
        Err(_) => Err(NoRequest::Refused(Refusal::TooSlow)),
    }
}

async fn read_head(
    stream: &mut ClientStream,
    settings: &Settings,
    place: &Arc<Place>,
) -> Result<Next, NoRequest> {
    let limits = &settings.head_limits;
    let refused = |flaw| NoRequest::Refused(Refusal::Flaw(flaw));
    let mut scanner = HeadScanner::default();
    let mut may_skip = true;
    // A long header counts before it is whole: else thousands of clients could each keep most of one here.
    let mut held = None;
    loop {
        // An empty line before a request is forgiven, once (RFC 9112, section 2.2).
        if may_skip && stream.early().starts_with(b"\r\n") {
            stream.skip(2);
            may_skip = false;
        }
        if !(may_skip && stream.early() == b"\r") {
            may_skip &= stream.early().is_empty();
            if let Some(length) = scanner.scan(stream.early(), limits).map_err(refused)? {
                let body = head::check(&stream.early()[..length], limits).map_err(refused)?;
                return Ok(match body {
                    BodyLength::Bytes(bytes) => {
                        Next { bytes: length as u64 + bytes, weight: weight(length, Some(bytes)) }
                    }
                    BodyLength::Chunked => Next { bytes: u64::MAX, weight: weight(length, None) },
                });
            }
        }
        if held.is_none() && stream.early().len() > READ_BYTES {
            held = Some(place.hold(limits.bytes).map_err(|_| NoRequest::Refused(Refusal::Full))?);
        }
        match stream.read_early().await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(NoRequest::Gone),
        }
    }
}
