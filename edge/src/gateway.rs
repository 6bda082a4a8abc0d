//! The way of a request through the edge. This file calls the rooms in order and decides nothing itself.
//!
//! ```text
//! request_filter ─ admit: size ─ host ─ client address ─ canonical path ─ route ─ guards
//!                └ then: a file, or on to
//! upstream_peer ─ upstream_request_filter ─ (retry on another server) ─ response_filter ─ logging
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::admission::Arrival;
use crate::config::{Policy, Target};
use crate::context::Context;
use crate::guards::{Guards, RATE_LIMIT, Refusal, Verdict};
use crate::problem::{self, Problem};
use crate::request::RequestView;
use crate::routes::{Matched, RouteTable};
use crate::target::{authority, check_size, is_canonical, raw_path, with_path};
use crate::upstream::Pool;
use crate::{access_log, admission, files, headers, metrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How long a client's connection may be idle between requests.
pub(crate) const CLIENT_IDLE: Duration = Duration::from_secs(60);
/// How long a client may take to accept more of an answer.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The gateway of a policy.
pub struct Gateway {
    policy: Arc<Policy>,
    routes: RouteTable,
    guards: Arc<Guards>,
    pools: Arc<[Pool]>,
}

type Fields = Vec<(HeaderName, HeaderValue)>;

impl Gateway {
    /// A gateway over these rooms; `pools` are in the order of the policy's upstreams.
    pub fn new(policy: Arc<Policy>, guards: Arc<Guards>, pools: Arc<[Pool]>) -> Self {
        let routes = RouteTable::new(policy.routes.clone());
        Self { policy, routes, guards, pools }
    }

    /// Whether a request may come in, and on which route: what must be known of it first, then the guards.
    pub fn admit<'a>(
        &'a self,
        request: &'a RequestHeader,
        peer: SocketAddr,
        context: &mut Context,
    ) -> std::result::Result<Matched<'a>, Box<Refusal>> {
        let refuse = |problem| Box::new(Refusal { guard: "request", problem, headers: Vec::new() });
        check_size(request).map_err(refuse)?;
        let (method, headers) = (&request.method, &request.headers);
        let authority = authority(request).map_err(refuse)?;
        let raw_path = raw_path(request).map_err(refuse)?;
        let arrival = Arrival { method, authority, raw_path, headers, peer };
        let Context { known, findings, route, .. } = context;
        let matched = admission::admit(&self.policy, &self.routes, &arrival, known)
            .map_err(|not_admitted| refuse(not_admitted.problem))?;
        *route = Some(matched.index());
        let Some(client) = known.client else { return Err(refuse(Problem::internal())) };
        let view = RequestView { method, authority, path: &known.path, headers, client };
        match self.guards.check(&view, &matched, findings) {
            Verdict::Respond(refusal) => Err(refusal),
            Verdict::Skipped | Verdict::Continue => Ok(matched),
        }
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
            Target::Files(_) => None,
        }
    }

    fn route_pool(&self, context: &Context) -> Result<&Pool> {
        context
            .route
            .and_then(|route| self.pool(route))
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "proxied without an upstream"))
    }

    async fn serve_file(&self, session: &mut Session, context: &mut Context, folder: &Path) -> Result<()> {
        let request = session.req_header();
        match files::serve(folder, &request.method, &context.known.path, &request.headers).await {
            Ok(served) => self.respond(session, context, served.status, served.headers, served.body).await,
            Err(problem) => self.respond_problem(session, context, &problem, Vec::new()).await,
        }
    }

    async fn respond_problem(
        &self,
        session: &mut Session,
        context: &Context,
        problem: &Problem,
        mut fields: Fields,
    ) -> Result<()> {
        let body = problem.body(&context.request_id);
        fields.push((header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE)));
        fields.push((header::CONTENT_LENGTH, HeaderValue::from(body.len())));
        fields.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        let body = if session.req_header().method == Method::HEAD { String::new() } else { body };
        self.respond(session, context, problem.status, fields, body.into()).await
    }

    async fn respond(
        &self,
        session: &mut Session,
        context: &Context,
        status: StatusCode,
        fields: Fields,
        body: Bytes,
    ) -> Result<()> {
        let mut response = ResponseHeader::build(status, Some(fields.len() + 2))?;
        for (name, value) in fields {
            response.append_header(name, value)?;
        }
        self.finish_header(&mut response, context)?;
        session.write_response_header(Box::new(response), body.is_empty()).await?;
        if body.is_empty() { Ok(()) } else { session.write_response_body(Some(body), true).await }
    }

    /// The fields that every answer of the edge has, and none that tell what is behind it.
    fn finish_header(&self, response: &mut ResponseHeader, context: &Context) -> Result<()> {
        for name in [header::SERVER, header::VIA, HeaderName::from_static("x-powered-by")] {
            response.remove_header(&name);
        }
        response.insert_header(REQUEST_ID, context.request_id.as_str())?;
        if let Some(field) = self.guards.rate_limits().field(&context.findings.quotas) {
            response.insert_header(RATE_LIMIT, field)?;
        }
        Ok(())
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
        // Pingora would wait for the next request, and for a client that doesn't read, without an end.
        session.set_keepalive(Some(CLIENT_IDLE.as_secs()));
        session.as_downstream_mut().set_write_timeout(Some(CLIENT_WRITE_TIMEOUT));
        let peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .copied()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a connection without an address"))?;
        match self.admit(session.req_header(), peer, context) {
            Ok(matched) => {
                let route = matched.route();
                if let Target::Files(folder) = &route.target {
                    let folder = folder.clone();
                    self.serve_file(session, context, &folder).await?;
                    return Ok(true);
                }
                let is_websocket = route.websocket;
                self.prepare(session, context, is_websocket)?;
                Ok(false)
            }
            Err(refusal) => {
                context.refused_by = Some(refusal.guard);
                self.respond_problem(session, context, &refusal.problem, refusal.headers).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        let pool = self.route_pool(context)?;
        let server = pool.select(&context.tried).ok_or_else(|| {
            Error::explain(
                ErrorType::HTTPStatus(StatusCode::SERVICE_UNAVAILABLE.as_u16()),
                "no healthy server",
            )
        })?;
        context.tried.push(server);
        let is_websocket = context.route.is_some_and(|route| self.routes.get(route).websocket);
        Ok(Box::new(pool.peer(server, is_websocket)))
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
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        self.finish_header(response, context)
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

/// What a client is told of a failure; `None` when it is gone itself.
fn problem_of(error: &Error) -> Option<Problem> {
    match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(status), _) => Some(Problem::from_status(
            StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        )),
        (
            ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::SocketError,
            ErrorSource::Upstream,
        ) => Some(Problem::unavailable()),
        (_, ErrorSource::Upstream) => Some(Problem::bad_gateway()),
        (
            ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed,
            ErrorSource::Downstream,
        ) => None,
        (_, ErrorSource::Downstream) => Some(Problem::from_status(StatusCode::BAD_REQUEST)),
        (_, ErrorSource::Internal | ErrorSource::Unset) => Some(Problem::internal()),
    }
}
