//! The request as a server gets it: what was admitted, and what only a gateway may say.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::{Error, ErrorType, OrErr, Result};

use super::{FORWARDED_FOR, REQUEST_ID, Session};
use crate::context::Context;
use crate::http1::{self, Nominations, write_field};

/// Most heads are shorter.
const HEAD_BYTES: usize = 1024;
/// What a chunk has beside its bytes, and the last one.
const CHUNK_BYTES: usize = 32;

/// How a request's body is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    NoBody,
    /// As many bytes as the head says; the client's side sees to it that they are.
    Counted,
    /// Nobody said how many.
    Chunked,
}

impl Framing {
    /// A part of the body as it is sent; an empty one is nothing but the end, if it is that.
    pub(super) fn frame(self, part: Bytes, is_last: bool) -> Bytes {
        if self != Self::Chunked {
            return part;
        }
        let mut framed = BytesMut::with_capacity(part.len() + CHUNK_BYTES);
        http1::write_chunk(&mut framed, &part);
        if is_last {
            framed.extend_from_slice(http1::LAST_CHUNK);
        }
        framed.freeze()
    }
}

/// The head, and how the body follows. It is the same for each server that is tried.
pub(super) fn request_head(session: &mut Session, context: &Context) -> Result<(BytesMut, Framing)> {
    let has_body = !session.is_body_empty();
    let request = session.req_header();
    let mut head = BytesMut::with_capacity(HEAD_BYTES);
    let nominations = Nominations::of_request(&request.headers).map_err(unfit)?;
    http1::write_request_line(&mut head, &request.method, request.raw_path()).map_err(unfit)?;
    // HTTP/2 has it beside the fields; where both are there, they were found to be the same.
    let authority = request.uri.authority();
    if let Some(authority) = authority {
        write_field(&mut head, &header::HOST, authority.as_str().as_bytes());
    }
    for (name, value) in &request.headers {
        let is_written = authority.is_some() && *name == header::HOST;
        if !is_written && !http1::is_hop_by_hop(name) && !nominations.contains(name.as_str()) {
            write_field(&mut head, name, value.as_bytes());
        }
    }
    write_field(&mut head, &REQUEST_ID, context.request_id.as_bytes());
    if let Some(client) = context.known.client {
        write!(head, "{FORWARDED_FOR}: {client}\r\n")
            .or_err(ErrorType::InternalError, "a client's address")?;
    }
    let is_counted =
        request.headers.contains_key(header::CONTENT_LENGTH) && !nominations.contains("content-length");
    let framing = match (has_body, is_counted) {
        (false, _) => Framing::NoBody,
        (true, true) => Framing::Counted,
        (true, false) => Framing::Chunked,
    };
    if framing == Framing::Chunked {
        write_field(&mut head, &header::TRANSFER_ENCODING, b"chunked");
    }
    head.extend_from_slice(b"\r\n");
    Ok((head, framing))
}

fn unfit(unfit: http1::Unfit) -> Box<Error> {
    Error::because(ErrorType::InvalidHTTPHeader, "a request that can't be forwarded", unfit).into_down()
}
