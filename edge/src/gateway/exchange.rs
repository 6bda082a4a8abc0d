//! What happens between the edge and a server, told to the upstream's room: what counts against a server, and what may be
//! sent again.

use std::time::Duration;

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::{Session, matched, pool_of};
use crate::context::Context;
use crate::upstream::{Asking, Delivery, Failure, Patience};

/// The kind of error of an answer that hadn't begun when another server could still be asked.
pub(super) const TOO_LATE: &str = "AnswerTooLate";

/// What the upstream's room must know of a request.
pub(super) fn asking(session: &Session, context: &Context) -> Asking {
    Asking { is_safe: session.req_header().method.is_safe(), client: context.known.client }
}

/// How long the request, which is about to be sent, waits for its server.
pub(super) fn patience(session: &Session, context: &Context) -> Result<Patience> {
    let pool = pool_of(&context.site, context.route)?;
    let timeout = matched(session, context).and_then(|matched| matched.read_timeout());
    Ok(context.exchange.patience(pool, asking(session, context), timeout))
}

/// Nothing was sent yet: any request may be tried elsewhere.
pub(super) fn goes_elsewhere_unconnected(session: &Session, error: &Error, context: &mut Context) -> bool {
    let failure = match error.etype() {
        ErrorType::ConnectRefused => Some(Failure::Refused),
        ErrorType::ConnectTimedout | ErrorType::ConnectNoRoute => Some(Failure::NoConnection),
        // No free port, no free descriptor: the edge's own need.
        _ => None,
    };
    let asking = asking(session, context);
    let may_repeat = !session.retry_buffer_truncated();
    let Context { exchange, site, route, .. } = context;
    pool_of(site, *route).is_ok_and(|pool| exchange.failed(pool, failure, asking, may_repeat))
}

/// Something was sent: only what is safe to repeat (RFC 9110, section 9.2.1) is tried elsewhere, and only while the
/// client has seen nothing of an answer. That holds for a connection that the server closed as we sent, too: nobody
/// knows whether a POST on it was read.
pub(super) fn goes_elsewhere(
    session: &mut Session,
    error: &Error,
    context: &mut Context,
    is_reused: bool,
) -> bool {
    if context.exchange.is_going_elsewhere() {
        return true;
    }
    let Ok(pool) = pool_of(&context.site, context.route) else { return false };
    let is_of_server = *error.esource() == ErrorSource::Upstream;
    let is_unseen = session.response_written().is_none();
    let failure = match is_of_server && is_unseen && session.is_body_done() {
        true => failure(error, is_reused, context, pool.upstream().answer_timeout),
        false => None,
    };
    let may_repeat = is_of_server && is_unseen && may_repeat(session);
    let asking = asking(session, context);
    let Context { exchange, site, route, .. } = context;
    pool_of(site, *route).is_ok_and(|pool| exchange.failed(pool, failure, asking, may_repeat))
}

/// A header has come: the client's, unless a better one may be had elsewhere.
pub(super) fn take_answer(session: &mut Session, status: StatusCode, context: &mut Context) -> Result<()> {
    // Of switched protocols tunnel.rs tells.
    if status.is_informational() {
        return Ok(());
    }
    let (asking, may_repeat) = (asking(session, context), may_repeat(session));
    let Context { exchange, site, route, .. } = context;
    match exchange.answered(pool_of(site, *route)?, status, asking, may_repeat) {
        Delivery::Deliver => Ok(()),
        Delivery::TryElsewhere => {
            let what = ErrorType::HTTPStatus(status.as_u16());
            Error::e_explain(what, "another server may do better").map_err(|error| error.into_up())
        }
    }
}

fn may_repeat(session: &Session) -> bool {
    session.req_header().method.is_safe() && !session.retry_buffer_truncated()
}

/// Whose fault it is that no answer has come to a request that was sent whole.
///
/// Not counted: what comes before the client has sent all of its body (a server may give up on a slow one) or after an
/// answer has begun (it may give up on a client that doesn't take it); a connection that is closed as it is used again,
/// as happens to any that is kept; and a silence of which the server had only the end.
fn failure(error: &Error, is_reused: bool, context: &Context, answer_timeout: Duration) -> Option<Failure> {
    let had_time = context.request_ended.is_some_and(|ended| ended.elapsed() >= answer_timeout);
    match error.etype() {
        ErrorType::ReadTimedout => had_time.then_some(Failure::Late),
        ErrorType::WriteTimedout | ErrorType::Custom(TOO_LATE) => Some(Failure::Late),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError if is_reused => None,
        _ => Some(Failure::Broken),
    }
}
