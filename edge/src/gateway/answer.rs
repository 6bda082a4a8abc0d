//! Answers of the edge's own: redirects, fixed answers, problems; and the fields that every answer has.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::{Gateway, REQUEST_ID, Session, matched};
use crate::config::{FixedAnswer, Target};
use crate::context::Context;
use crate::guards::RATE_LIMIT;
use crate::problem::{self, Problem};
use crate::request::only;
use crate::response_headers::{Asked, Change};
use crate::{redirects, response_headers};

/// What is given to a client at once of an answer of ours: it may take its time for each, not for all together.
const WRITE_BYTES: usize = 64 * 1024;

pub(super) type Fields = Vec<(HeaderName, HeaderValue)>;

impl Gateway {
    /// Answers a request whose route goes to no server.
    pub(super) async fn answer_itself(
        &self,
        session: &mut Session,
        context: &mut Context,
        route: usize,
    ) -> Result<()> {
        let site = Arc::clone(&context.site);
        let route = site.routes.get(route);
        match &route.target {
            Target::Files(files) => self.serve_file(session, context, files).await,
            Target::Respond(answer) => self.respond_fixed(session, context, answer).await,
            Target::Redirect(redirect) => {
                let query = session.req_header().uri.query();
                match redirects::location(route, redirect, &context.known.path, query) {
                    Some(location) => {
                        let fields = vec![(header::LOCATION, location), (header::CONTENT_LENGTH, 0.into())];
                        self.respond(session, context, redirect.status, fields, Bytes::new()).await
                    }
                    None => {
                        let problem = Problem::bad_request("The query has an illegal byte.");
                        self.respond_problem(session, context, &problem, Vec::new()).await
                    }
                }
            }
            Target::Upstream(_) => Error::e_explain(ErrorType::InternalError, "answered by an upstream"),
        }
    }

    async fn respond_fixed(
        &self,
        session: &mut Session,
        context: &Context,
        answer: &FixedAnswer,
    ) -> Result<()> {
        let mut fields = Fields::new();
        if answer.status != StatusCode::NO_CONTENT {
            fields.push((header::CONTENT_TYPE, answer.content_type.clone()));
            fields.push((header::CONTENT_LENGTH, answer.body.len().into()));
        }
        let is_head = session.req_header().method == Method::HEAD;
        let body = if is_head { Bytes::new() } else { Bytes::copy_from_slice(answer.body.as_bytes()) };
        self.respond(session, context, answer.status, fields, body).await
    }

    pub(super) async fn respond_problem(
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

    pub(super) async fn respond(
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
        self.finish_header(session, &mut response, context)?;
        session.write_response_header(Box::new(response), body.is_empty()).await?;
        let mut rest = body;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(WRITE_BYTES));
            session.write_response_body(Some(part), rest.is_empty()).await?;
        }
        Ok(())
    }

    /// The fields that every answer of the edge has, and none that tell what is behind it.
    pub(super) fn finish_header(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &Context,
    ) -> Result<()> {
        if context.served.connection.drain().has_begun() {
            session.set_keepalive(None);
        }
        for name in [header::SERVER, header::VIA, HeaderName::from_static("x-powered-by")] {
            response.remove_header(&name);
        }
        let asked = Asked {
            host: context.known.host,
            matched: matched(session, context),
            origin: only(&session.req_header().headers, &header::ORIGIN),
            is_preflight: context.is_preflight,
        };
        response_headers::changes(&context.site.policy, &asked, |change| match change {
            Change::Set(name, value) => response.insert_header(name, value),
            Change::Add(name, value) => response.append_header(name, value).map(drop),
            Change::Remove(name) => {
                response.remove_header(&name);
                Ok(())
            }
        })?;
        response.insert_header(REQUEST_ID, context.request_id.as_str())?;
        if let Some(field) = context.site.guards.rate_limits().field(&context.findings.quotas) {
            response.insert_header(RATE_LIMIT, field)?;
        }
        Ok(())
    }
}

/// What a client is told of a failure; `None` when it is gone itself.
pub(super) fn problem_of(error: &Error) -> Option<Problem> {
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
