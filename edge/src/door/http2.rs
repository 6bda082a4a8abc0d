//! HTTP/2: h2 reads the connection and keeps its own bounds; here stand the numbers, and the count of what is at work.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Settings;
use super::capacity::{Place, weight};
use crate::connection::{self, Connection, Served};
use crate::drain::Phase;

/// What is written of an answer before the client has taken it, for each request.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams that a client makes us reset (CVE-2025-8671); a connection that comes to as many is closed.
const MOST_RESETS_OF_OURS: usize = 64;
/// Streams that were reset and are still remembered.
const RESET_STREAMS: usize = 20;

/// For a client to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a field costs beside its bytes (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// The application of one connection.
pub(super) struct Http2<A> {
    app: Arc<A>,
    settings: Arc<Settings>,
    connection: Arc<Connection>,
    place: Arc<Place>,
    options: HttpServerOptions,
    /// Streams that are being served.
    open: watch::Sender<usize>,
}

impl<A> Http2<A> {
    pub(super) fn new(
        app: Arc<A>,
        settings: Arc<Settings>,
        connection: Arc<Connection>,
        place: Arc<Place>,
    ) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(settings.policy.idle_timeout);
        Self { app, settings, connection, place, options, open: watch::Sender::new(0) }
    }

    /// Ends when the edge leaves, nothing is open, and nothing more is taken: a client that doesn't answer the goodbye, as one that sleeps, would
    /// keep it for nothing.
    pub(super) async fn is_forsaken(&self) {
        self.connection.drain().reached(Phase::ClosingIdle).await;
        let mut open = self.open.subscribe();
        loop {
            // It holds the sender itself.
            let _ = open.wait_for(|open| *open == 0).await;
            let written = self.connection.written_bytes();
            sleep(GOODBYE).await;
            // The end of an answer may still be on its way, after the request is done.
            if *open.borrow() == 0 && self.connection.written_bytes() == written {
                return;
            }
        }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Http2<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let Ok(_at_work) = self.place.begin_request(weight_of(&mut session)) else {
            // An answer would have to wait for whoever doesn't take answers. Refused like this, it may be tried again.
            metrics::counter!("edge_refusals_total", "guard" => "capacity").increment(1);
            session.shutdown_with_reason(h2::Reason::REFUSED_STREAM);
            return None;
        };
        let _open = Open::count(&self.open);
        let served = Served::new(Arc::clone(&self.connection));
        let request = self.app.process_new_http(session, shutdown);
        connection::serve(served, self.settings.policy.body_pace, request).await;
        None
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options
            .max_concurrent_streams(self.settings.policy.max_streams)
            .max_header_list_size(self.settings.policy.max_header_bytes.try_into().unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_concurrent_reset_streams(RESET_STREAMS)
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(Some(MOST_RESETS_OF_OURS));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// One stream that is being served, until it is dropped.
struct Open<'a>(&'a watch::Sender<usize>);

impl<'a> Open<'a> {
    fn count(open: &'a watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

fn weight_of(session: &mut ServerSession) -> usize {
    let has_body = !session.is_body_done();
    let header = session.req_header();
    let fields =
        header.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
    let header_bytes = header.raw_path().len() + fields.sum::<usize>();
    let length =
        header.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    weight(header_bytes, if has_body { length } else { Some(0) })
}
