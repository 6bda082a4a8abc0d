//! The way of a request through the edge. This file calls the rooms in order and decides nothing itself.
//!
//! ```text
//! answer ─ admit: size ─ host ─ client address ─ canonical path ─ route ─ guards
//!        └ then: an answer of the edge's own (answer.rs, file.rs), a WebSocket (handshake.rs, tunnel.rs), or
//!          forward ─ choose ─ connect ─ relay: request_head.rs ─ answer ─ (another server: exchange.rs) ─ compress.rs ─ body
//! explain: a problem, where there is no answer ─ log
//! ```

mod answer;
mod compress;
mod exchange;
mod file;
mod forward;
mod handshake;
mod relay;
mod request_head;
mod session;
mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::admission::Arrival;
use crate::compression::Encoders;
use crate::config::Target;
use crate::context::Context;
use crate::files::Files;
use crate::guards::{Answer, Refusal, Verdict};
use crate::problem::Problem;
use crate::request::RequestView;
use crate::routes::Matched;
use crate::site::{Site, Sites};
use crate::target::{authority, check_length, check_size, is_canonical, raw_path, raw_query, with_path};
use crate::upstream::Pool;
use crate::{access_log, admission, headers, metrics, websocket};

use self::answer::problem_of;
use self::session::Session;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request that was refused may still bring this much of its body, for so long, before its connection is closed.
const DRAIN: Duration = Duration::from_secs(1);

/// Why a request goes no further.
pub enum Ended {
    /// It was refused.
    Refused(Box<Refusal>),
    /// It was for the edge itself.
    Answered(Box<Answer>),
}

/// The gateway of whichever policy is in force.
pub struct Gateway {
    sites: Arc<Sites>,
    files: Arc<Files>,
    encoders: Arc<Encoders>,
}

impl Gateway {
    /// A gateway whose requests each meet the site that is current when they come.
    pub fn new(sites: Arc<Sites>, files: Arc<Files>, encoders: Arc<Encoders>) -> Self {
        Self { sites, files, encoders }
    }

    /// Whether a request may come in, and on which route (index into the site's): what must be known of it first, then the
    /// guards.
    pub fn admit(
        request: &RequestHeader,
        peer: SocketAddr,
        context: &mut Context,
    ) -> std::result::Result<usize, Ended> {
        let refuse =
            |problem| Ended::Refused(Box::new(Refusal { guard: "request", problem, headers: Vec::new() }));
        let Context { site, known, findings, route, served, max_body_bytes, .. } = context;
        check_size(request, &site.policy.connections).map_err(refuse)?;
        let (method, headers) = (&request.method, &request.headers);
        let authority = authority(request).map_err(refuse)?;
        let raw_path = raw_path(request).map_err(refuse)?;
        let server_name = served.connection.server_name.as_deref();
        let arrival = Arrival { method, authority, raw_path, headers, peer };
        let matched = admission::admit(&site.policy, &site.routes, &arrival, server_name, known)
            .map_err(|not_admitted| refuse(not_admitted.problem))?;
        *route = Some(matched.index());
        *max_body_bytes = matched.max_body_bytes().unwrap_or(site.policy.connections.max_body_bytes);
        let Some(client) = known.client else { return Err(refuse(Problem::internal())) };
        let (path, query) = (known.path.as_str(), raw_query(request));
        let view = RequestView { method, authority, path, query, headers, client };
        match site.guards.check(&view, &matched, findings) {
            Verdict::Respond(refusal) => return Err(Ended::Refused(refusal)),
            Verdict::Answer(answer) => return Err(Ended::Answered(answer)),
            Verdict::Skipped | Verdict::Continue => {}
        }
        check_length(headers, *max_body_bytes).map_err(refuse)?;
        Ok(matched.index())
    }

    /// What Pingora leaves open: how long a client may take for its part.
    fn set_deadlines(session: &mut Session, site: &Site) {
        let write_pace = site.policy.connections.write_pace;
        // Of HTTP/1 the connection itself watches the writing; of HTTP/2 it can't know whose turn it is.
        if session.is_http2() {
            session.set_write_timeout(Some(write_pace.grace));
        }
        session.set_total_drain_timeout(Some(DRAIN));
    }

    /// Makes the request the one that was admitted: canonical path, no fields that only a gateway may set.
    fn prepare(session: &mut Session, context: &Context) -> Result<()> {
        let request = session.req_header_mut();
        if !is_canonical(request, &context.known.path) {
            request.set_uri(with_path(&request.uri, &context.known.path, request.version)?);
        }
        for name in headers::untrusted(&request.headers) {
            request.remove_header(&name);
        }
        Ok(())
    }
}

/// The servers that a route goes to.
fn pool_of(site: &Site, route: Option<usize>) -> Result<&Pool> {
    let pool = match route.map(|route| &site.routes.get(route).target) {
        Some(Target::Upstream(index)) => site.pools.get(*index),
        Some(Target::Files(_) | Target::Redirect(_) | Target::Respond(_)) | None => None,
    };
    pool.ok_or_else(|| Error::explain(ErrorType::InternalError, "proxied without an upstream"))
}

/// The routes of a request that has met some.
fn matched<'a>(session: &'a Session, context: &'a Context) -> Option<Matched<'a>> {
    let (route, host) = (context.route?, context.known.host?);
    Some(context.site.routes.matched(route, &session.req_header().method, host))
}

#[async_trait]
impl HttpServerApp for Gateway {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let mut session = Session::new(session);
        if !read_head(&mut session).await {
            return None;
        }
        let mut context = Context::new(self.sites.current());
        let answered = self.answer(&mut session, &mut context).await;
        let error = answered.as_ref().err().map(|error| &**error);
        if let Some(error) = error {
            self.explain(&mut session, &context, error).await;
        }
        if !context.is_handed_on {
            Self::log(&session, &mut context, error);
        }
        // A connection or stream whose answer isn't whole ends here: its client sees that something is missing.
        answered.ok()?;
        session.end().await
    }
}

/// Reads the head of a request. The front door has seen that it is one; Pingora may be of another mind.
async fn read_head(session: &mut Session) -> bool {
    let error = match session.read_request().await {
        Ok(is_there) => return is_there,
        Err(error) => error,
    };
    if *error.etype() == ErrorType::InvalidHTTPHeader {
        // It is as gone when this fails.
        let _ = session.respond_error(StatusCode::BAD_REQUEST.as_u16()).await;
    }
    session.shutdown().await;
    false
}

impl Gateway {
    async fn answer(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        Self::set_deadlines(session, &context.site);
        let peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .copied()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a connection without an address"))?;
        let index = match Self::admit(session.req_header(), peer, context) {
            Ok(index) => index,
            Err(Ended::Answered(answer)) => {
                context.is_preflight = true;
                return self.respond(session, context, answer.status, answer.headers, Bytes::new()).await;
            }
            Err(Ended::Refused(refusal)) => {
                context.refused_by = Some(refusal.guard);
                metrics::record_refusal(refusal.guard, refusal.problem.name);
                return self.respond_problem(session, context, &refusal.problem, refusal.headers).await;
            }
        };
        let route = context.site.routes.get(index);
        let is_websocket = route.websocket;
        if !matches!(route.target, Target::Upstream(_)) {
            return self.answer_itself(session, context, index).await;
        }
        Self::prepare(session, context)?;
        if is_websocket {
            let asked = session.req_header();
            if let Some(key) = websocket::asked(asked.version, &asked.headers).cloned() {
                if let Some(agreed) = self.ask_for_websocket(session, context, &key).await? {
                    agreed.open(context.hand_on());
                }
                return Ok(());
            }
        }
        session.req_header_mut().remove_header(&header::UPGRADE);
        if !session.is_body_done() {
            context.served.body.begin();
        }
        self.forward(session, context).await
    }

    /// Tells a client what failed, where it has seen nothing of an answer, and the log.
    async fn explain(&self, session: &mut Session, context: &Context, error: &Error) {
        // A client that goes away is no error of ours; the access log has it.
        if *error.esource() != ErrorSource::Downstream {
            let route = context.route.map(|index| context.site.routes.get(index).pattern.to_string());
            let (route, tries) = (route.unwrap_or_default(), context.exchange.tried.len());
            // Never the query, which may hold a ticket.
            tracing::error!(%error, route, tries, request_id = context.request_id, "a request failed");
        }
        let Some(problem) = problem_of(error) else { return };
        if session.response_written().is_some() {
            return session.break_off().await;
        }
        let retry_after = (header::RETRY_AFTER, HeaderValue::from_static("1"));
        let is_temporary = problem.status == StatusCode::SERVICE_UNAVAILABLE;
        let fields = if is_temporary { vec![retry_after] } else { Vec::new() };
        if let Err(error) = self.respond_problem(session, context, &problem, fields).await {
            tracing::debug!(%error, "the client went away before its problem");
        }
    }

    fn log(session: &Session, context: &mut Context, error: Option<&Error>) {
        let Context { exchange, site, route, .. } = &mut *context;
        if let Ok(pool) = pool_of(site, *route) {
            exchange.end(pool);
        }
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let counts = context.site.counts.of(context.route);
        counts.record(status, context.started.elapsed());
        let entry = access_log::Entry {
            method: session.req_header().method.as_str(),
            route: counts.route(),
            has_secret: context.site.routes.has_secret(&context.known.path),
            status,
            sent_bytes: session.body_bytes_sent(),
            failure: error.map(|error| access_log::Failure {
                side: error.esource().as_str(),
                kind: error.etype().as_str(),
            }),
        };
        access_log::write(context, &entry);
    }
}
