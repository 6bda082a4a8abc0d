//! Answers of upstreams, compressed where the policy and the client want it.

use bytes::Bytes;
use http::{HeaderValue, header};
use pingora::http::ResponseHeader;
use pingora::{ErrorType, OrErr, Result};

use super::{Gateway, Session, matched};
use crate::compression::{self, Asked, Decision, Encoder, VARY};
use crate::config::Coding;
use crate::context::Context;

impl Gateway {
    /// Decides, and makes the header that of what will be sent.
    pub(super) fn begin_compression(
        &self,
        session: &Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        // A try on another server begins anew.
        context.encoder = None;
        let Some(policy) = &context.site.policy.compression else { return Ok(()) };
        if !matched(session, context).is_some_and(|matched| matched.may_compress()) {
            return Ok(());
        }
        let request = session.req_header();
        let asked = Asked { method: &request.method, version: request.version, headers: &request.headers };
        let decision = compression::decide(policy, &asked, response.status, &response.headers);
        if decision == Decision::AsItIs {
            return Ok(());
        }
        if !compression::varies(&response.headers) {
            response.append_header(VARY.0, VARY.1)?;
        }
        if let Decision::Compressed(coding) = decision
            && let Some(encoder) = self.encoders.open(policy, coding)
        {
            context.encoder = Some(encoder);
            describe(response, coding)?;
        }
        Ok(())
    }

    pub(super) fn compress(body: &mut Option<Bytes>, is_end: bool, context: &mut Context) -> Result<()> {
        let Some(encoder) = &mut context.encoder else { return Ok(()) };
        *body = encoded(encoder, body.as_deref().unwrap_or_default(), is_end)?;
        if is_end {
            // Its room is another's while this client takes the rest.
            context.encoder = None;
        }
        Ok(())
    }
}

/// An empty part would be read as the end.
fn encoded(encoder: &mut Encoder, input: &[u8], is_end: bool) -> Result<Option<Bytes>> {
    let bytes = encoder.encode(input, is_end).or_err(ErrorType::InternalError, "compressing")?;
    Ok((!bytes.is_empty()).then_some(bytes))
}

fn describe(response: &mut ResponseHeader, coding: Coding) -> Result<()> {
    response.insert_header(header::CONTENT_ENCODING, coding.token())?;
    response.remove_header(&header::CONTENT_LENGTH);
    response.remove_header(&header::ACCEPT_RANGES);
    // Of HTTP/1; HTTP/2 leaves it out.
    response.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    if let Some(weak) = response.headers.get(header::ETAG).and_then(compression::weakened) {
        response.insert_header(header::ETAG, weak)?;
    }
    Ok(())
}
