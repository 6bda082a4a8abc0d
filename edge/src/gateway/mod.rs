//! The way of a request through the edge. This file calls the rooms in order and decides nothing itself.
//!
//! ```text
//! request_filter ─ admit: size ─ host ─ client address ─ canonical path ─ route ─ guards
//!                └ then: an answer of the edge's own (answer.rs, file.rs), a WebSocket (tunnel.rs), or
//! forward ─ choose ─ connect ─ relay: request_head.rs ─ answer ─ (another server: exchange.rs) ─ compress.rs ─ body
//! fail_to_proxy (a problem, where there is no answer) ─ logging
//! ```

mod answer;
mod compress;
mod exchange;
mod file;
mod forward;
mod relay;
mod request_head;
mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::RequestHeader;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
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
        let downstream = session.as_downstream_mut();
        // Of HTTP/1 the connection itself watches the writing; of HTTP/2 it can't know whose turn it is.
        if downstream.is_http2() {
            downstream.set_write_timeout(Some(write_pace.grace));
        }
        downstream.set_total_drain_timeout(Some(DRAIN));
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
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.sites.current())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        context.started = Instant::now();
        Self::set_deadlines(session, &context.site);
        let peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .copied()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a connection without an address"))?;
        match Self::admit(session.req_header(), peer, context) {
            Ok(index) => {
                let route = context.site.routes.get(index);
                let is_websocket = route.websocket;
                if !matches!(route.target, Target::Upstream(_)) {
                    self.answer_itself(session, context, index).await?;
                    return Ok(true);
                }
                Self::prepare(session, context)?;
                if is_websocket {
                    let asked = session.req_header();
                    let key = websocket::asked(asked.version, &asked.headers).cloned();
                    if let Some(key) = key {
                        self.open_websocket(session, context, &key).await?;
                        return Ok(true);
                    }
                }
                session.req_header_mut().remove_header(&header::UPGRADE);
                if !session.as_mut().is_body_done() {
                    context.served.body.begin();
                }
                self.forward(session, context).await?;
                Ok(true)
            }
            Err(Ended::Answered(answer)) => {
                context.is_preflight = true;
                self.respond(session, context, answer.status, answer.headers, Bytes::new()).await?;
                Ok(true)
            }
            Err(Ended::Refused(refusal)) => {
                context.refused_by = Some(refusal.guard);
                metrics::record_refusal(refusal.guard, refusal.problem.name);
                self.respond_problem(session, context, &refusal.problem, refusal.headers).await?;
                Ok(true)
            }
        }
    }

    /// Never asked: what goes to a server, [`Gateway::forward`] sends there.
    async fn upstream_peer(&self, _session: &mut Session, _context: &mut Context) -> Result<Box<HttpPeer>> {
        Error::e_explain(ErrorType::InternalError, "forwarded twice")
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

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        let Context { exchange, site, route, .. } = context;
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

    /// What Pingora's own warnings say of a request: never its query, which may hold a ticket.
    fn request_summary(&self, session: &Session, context: &Context) -> String {
        let route = context.route.map(|index| context.site.routes.get(index).pattern.to_string());
        let route = route.as_deref().unwrap_or("-");
        format!("{} {route}, request {}", session.req_header().method, context.request_id)
    }

    /// A client that goes away is no error of ours; the access log has it.
    fn suppress_error_log(&self, _session: &Session, _context: &Context, error: &Error) -> bool {
        *error.esource() == ErrorSource::Downstream
    }
}
