//! The way of a request through the edge. This file calls the rooms in order and decides nothing itself.
//!
//! ```text
//! request_filter ─ admit: size ─ host ─ client address ─ canonical path ─ route ─ guards
//!                └ then: an answer of the edge's own (answer.rs, file.rs), or on to
//! upstream_peer ─ upstream_request_filter ─ (retry on another server) ─ response_filter ─ response_body_filter
//!                └ compress.rs ─ logging
//! ```

mod answer;
mod compress;
mod file;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::admission::Arrival;
use crate::compression::Encoders;
use crate::config::{Policy, Target};
use crate::context::Context;
use crate::files::Files;
use crate::guards::{Answer, Guards, Refusal, Verdict};
use crate::problem::Problem;
use crate::request::RequestView;
use crate::routes::{Matched, RouteTable};
use crate::target::{authority, check_length, check_size, is_canonical, raw_path, raw_query, with_path};
use crate::upstream::Pool;
use crate::{access_log, admission, headers, metrics};

use self::answer::problem_of;

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

/// The gateway of a policy.
pub struct Gateway {
    policy: Arc<Policy>,
    routes: RouteTable,
    guards: Arc<Guards>,
    pools: Arc<[Pool]>,
    files: Arc<Files>,
    encoders: Arc<Encoders>,
}

impl Gateway {
    /// A gateway over these rooms; `pools` are in the order of the policy's upstreams.
    pub fn new(
        policy: Arc<Policy>,
        guards: Arc<Guards>,
        pools: Arc<[Pool]>,
        files: Arc<Files>,
        encoders: Arc<Encoders>,
    ) -> Self {
        let routes = RouteTable::new(policy.routes.clone());
        Self { policy, routes, guards, pools, files, encoders }
    }

    /// Whether a request may come in, and on which route: what must be known of it first, then the guards.
    pub fn admit<'a>(
        &'a self,
        request: &'a RequestHeader,
        peer: SocketAddr,
        context: &mut Context,
    ) -> std::result::Result<Matched<'a>, Ended> {
        let refuse =
            |problem| Ended::Refused(Box::new(Refusal { guard: "request", problem, headers: Vec::new() }));
        check_size(request, &self.policy.connections).map_err(refuse)?;
        let (method, headers) = (&request.method, &request.headers);
        let authority = authority(request).map_err(refuse)?;
        let raw_path = raw_path(request).map_err(refuse)?;
        let Context { known, findings, route, served, max_body_bytes, .. } = context;
        let server_name = served.connection.server_name.as_deref();
        let arrival = Arrival { method, authority, raw_path, headers, peer };
        let matched = admission::admit(&self.policy, &self.routes, &arrival, server_name, known)
            .map_err(|not_admitted| refuse(not_admitted.problem))?;
        *route = Some(matched.index());
        *max_body_bytes = matched.max_body_bytes().unwrap_or(self.policy.connections.max_body_bytes);
        let Some(client) = known.client else { return Err(refuse(Problem::internal())) };
        let (path, query) = (known.path.as_str(), raw_query(request));
        let view = RequestView { method, authority, path, query, headers, client };
        match self.guards.check(&view, &matched, findings) {
            Verdict::Respond(refusal) => return Err(Ended::Refused(refusal)),
            Verdict::Answer(answer) => return Err(Ended::Answered(answer)),
            Verdict::Skipped | Verdict::Continue => {}
        }
        check_length(headers, *max_body_bytes).map_err(refuse)?;
        Ok(matched)
    }

    /// What Pingora leaves open: how long a client may take for its part.
    fn set_deadlines(&self, session: &mut Session) {
        let write_pace = self.policy.connections.write_pace;
        let downstream = session.as_downstream_mut();
        // Of HTTP/1 the connection itself watches the writing; of HTTP/2 it can't know whose turn it is.
        if downstream.is_http2() {
            downstream.set_write_timeout(Some(write_pace.grace));
        }
        downstream.set_total_drain_timeout(Some(DRAIN));
    }

    /// Makes the request the one that was admitted: canonical path, no fields that only a gateway may set, no upgrade
    /// but on a WebSocket route.
    fn prepare(&self, session: &mut Session, context: &Context, is_websocket: bool) -> Result<()> {
        let request = session.req_header_mut();
        if !is_canonical(request, &context.known.path) {
            request.set_uri(with_path(&request.uri, &context.known.path, request.version)?);
        }
        for name in headers::untrusted(&request.headers) {
            request.remove_header(&name);
        }
        if is_websocket {
            let idle =
                context.route.and_then(|index| self.pool(index)).map(|pool| pool.upstream().websocket_idle);
            session.as_downstream_mut().set_read_timeout(idle);
        } else {
            request.remove_header(&header::UPGRADE);
        }
        Ok(())
    }

    fn pool(&self, route: usize) -> Option<&Pool> {
        match self.routes.get(route).target {
            Target::Upstream(index) => self.pools.get(index),
            Target::Files(_) | Target::Redirect(_) | Target::Respond(_) => None,
        }
    }

    /// The routes of a request that has met some.
    fn matched<'a>(&'a self, session: &'a Session, context: &Context) -> Option<Matched<'a>> {
        let (route, host) = (context.route?, context.known.host?);
        Some(self.routes.matched(route, &session.req_header().method, host))
    }

    fn route_pool(&self, context: &Context) -> Result<&Pool> {
        context
            .route
            .and_then(|route| self.pool(route))
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "proxied without an upstream"))
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new()
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        context.started = Instant::now();
        self.set_deadlines(session);
        let peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .copied()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a connection without an address"))?;
        match self.admit(session.req_header(), peer, context) {
            Ok(matched) => {
                let route = matched.route();
                let is_websocket = route.websocket;
                if !matches!(route.target, Target::Upstream(_)) {
                    self.answer_itself(session, context, matched.index()).await?;
                    return Ok(true);
                }
                self.prepare(session, context, is_websocket)?;
                if !session.as_mut().is_body_done() {
                    context.served.body.begin();
                }
                Ok(false)
            }
            Err(Ended::Answered(answer)) => {
                context.is_preflight = true;
                self.respond(session, context, answer.status, answer.headers, Bytes::new()).await?;
                Ok(true)
            }
            Err(Ended::Refused(refusal)) => {
                context.refused_by = Some(refusal.guard);
                self.respond_problem(session, context, &refusal.problem, refusal.headers).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        let pool = self.route_pool(context)?;
        let server = pool.select(&context.tried).ok_or_else(|| {
            Error::explain(
                ErrorType::HTTPStatus(StatusCode::SERVICE_UNAVAILABLE.as_u16()),
                "no healthy server",
            )
        })?;
        context.tried.push(server);
        let matched = self.matched(session, context);
        let is_websocket = matched.is_some_and(|matched| matched.route().websocket);
        let timeout = matched.and_then(|matched| matched.read_timeout());
        Ok(Box::new(pool.peer(server, is_websocket, timeout)))
    }

    /// A body whose length nobody said is counted as it comes.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Context,
    ) -> Result<()> {
        let watch = &context.served.body;
        watch.receive(body.as_ref().map_or(0, Bytes::len));
        if end_of_stream {
            watch.end();
            context.served.connection.set_request_read(true);
        }
        let is_tunnel = context.served.connection.is_tunnel();
        if !is_tunnel && watch.received_bytes() > context.max_body_bytes {
            watch.end();
            session.set_keepalive(None);
            let status = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
            return Error::e_explain(ErrorType::HTTPStatus(status), "the body is too large");
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        request.insert_header(REQUEST_ID, context.request_id.as_str())?;
        if let Some(client) = context.known.client {
            request.insert_header(FORWARDED_FOR, client.to_string())?;
        }
        Ok(())
    }

    /// Nothing was sent yet: any request may be tried elsewhere.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(self.may_retry(context));
        error
    }

    /// Something was sent: only what is safe to repeat (RFC 9110, section 9.2.1) is tried elsewhere, and only while
    /// the client has seen nothing of an answer.
    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut Context,
        _client_reused: bool,
    ) -> Box<Error> {
        let is_repeatable = session.req_header().method.is_safe()
            && *error.esource() == ErrorSource::Upstream
            && session.response_written().is_none()
            && !session.as_ref().retry_buffer_truncated();
        error.set_retry(is_repeatable && self.may_retry(context));
        error
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            let is_websocket = context.route.is_some_and(|route| self.routes.get(route).websocket);
            if !is_websocket {
                let explanation = "the server switched protocols without being asked to";
                return Error::e_explain(ErrorType::InvalidHTTPHeader, explanation).map_err(|e| e.into_up());
            }
            context.served.connection.open_tunnel();
        }
        self.begin_compression(session, response, context)?;
        self.finish_header(session, response, context)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        Self::compress(body, end_of_stream, context)?;
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        let Some(problem) = problem_of(error) else {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        if session.response_written().is_none() {
            let retry_after = (header::RETRY_AFTER, HeaderValue::from_static("1"));
            let is_temporary = problem.status == StatusCode::SERVICE_UNAVAILABLE;
            let fields = if is_temporary { vec![retry_after] } else { Vec::new() };
            if let Err(error) = self.respond_problem(session, context, &problem, fields).await {
                tracing::debug!(%error, "the client went away before its problem");
            }
        }
        FailToProxy { error_code: problem.status.as_u16(), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, context: &mut Context) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let pattern = context.route.map(|index| &self.routes.get(index).pattern);
        let route = pattern.map_or_else(|| "-".to_owned(), ToString::to_string);
        metrics::record(context, &route, status);
        let entry = access_log::Entry {
            method: session.req_header().method.as_str(),
            route: &route,
            has_secret: self.routes.has_secret(&context.known.path),
            status,
            sent_bytes: session.body_bytes_sent(),
        };
        access_log::write(context, &entry);
    }

    /// What Pingora's own warnings say of a request: never its query, which may hold a ticket.
    fn request_summary(&self, session: &Session, context: &Context) -> String {
        let route = context.route.map(|index| self.routes.get(index).pattern.to_string());
        let route = route.as_deref().unwrap_or("-");
        format!("{} {route}, request {}", session.req_header().method, context.request_id)
    }

    /// A client that goes away is no error of ours; the access log has it.
    fn suppress_error_log(&self, _session: &Session, _context: &Context, error: &Error) -> bool {
        *error.esource() == ErrorSource::Downstream
    }
}

impl Gateway {
    fn may_retry(&self, context: &Context) -> bool {
        self.route_pool(context).is_ok_and(|pool| context.tried.len() <= pool.upstream().retries)
    }
}
