//! One line a request: who, what, how it ended. Never a query, a token or a secret of the path.

use crate::context::Context;

/// The target of access log events; `RUST_LOG=access=off` silences them.
pub const TARGET: &str = "access";

/// What is logged beside the context.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The decisive route's pattern, `-` without one.
    pub route: &'a str,
    /// Whether a segment of the path is a secret: then the pattern is logged in its place.
    pub has_secret: bool,
    /// The answer's status; 0 when none was sent.
    pub status: u16,
    /// Bytes of the answer's body.
    pub sent_bytes: usize,
}

/// Writes a request's line.
pub fn write(context: &Context, entry: &Entry<'_>) {
    let path = if entry.has_secret { entry.route } else { context.known.path.as_str() };
    tracing::info!(
        target: TARGET,
        request_id = context.request_id,
        client = context.known.client.map(tracing::field::display),
        method = entry.method,
        path,
        route = entry.route,
        status = entry.status,
        sent_bytes = entry.sent_bytes,
        duration_ms = context.started.elapsed().as_secs_f64() * 1000.0,
        upstream = context.exchange.tried.last().map(tracing::field::display),
        tries = context.exchange.tried.len(),
        refused_by = context.refused_by,
    );
}
