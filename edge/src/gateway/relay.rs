//! One try: a request goes to a server, an answer comes back, both as they come. What waits here is one part each way: who
//! doesn't take is waited for, and nothing more is read of the other side meanwhile.

use std::future::{poll_fn, ready};
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;

use super::exchange::{self, TOO_LATE};
use super::request_head::Framing;
use super::{Gateway, Session};
use crate::context::Context;
use crate::http1::{self, Answer, Body, Flaw, Length};
use crate::upstream::{Patience, WaitedFor};

/// Read at once of an answer until its head has come: more than most have in all.
const HEAD_BYTES: usize = 8 * 1024;
/// Read at once of a body: what fits into a TLS record.
const BODY_BYTES: usize = 16 * 1024;

/// A request between a client and a server.
pub(super) struct Relay<'a> {
    gateway: &'a Gateway,
    session: &'a mut Session,
    context: &'a mut Context,
    patience: Patience,
    server: TcpStream,
    /// What has come of the answer and wasn't looked at.
    buffer: BytesMut,
    /// How much is read at once.
    room: usize,
    framing: Framing,
    /// What the server hasn't taken yet.
    to_server: Bytes,
    request: Request,
}

/// How far the request is.
#[derive(Debug)]
enum Request {
    /// More of its body is to come.
    Coming,
    /// It was read to its end.
    Read,
    /// The server takes no more of it. It may have answered before.
    Refused(Box<Error>),
}

/// What becomes of the connection.
pub(super) enum Outcome {
    /// Another request may follow on it.
    Reusable(TcpStream),
    /// None may.
    Used,
}

/// What has happened meanwhile.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// More of the answer has come; its end where it was nothing.
    Read(usize),
    /// More of the request is on its way.
    Sent,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        gateway: &'a Gateway,
        session: &'a mut Session,
        context: &'a mut Context,
        server: TcpStream,
        framing: Framing,
    ) -> Result<Self> {
        let patience = exchange::patience(session, context)?;
        let request = if session.is_body_done() { Request::Read } else { Request::Coming };
        let (buffer, to_server) = (BytesMut::new(), Bytes::new());
        let room = HEAD_BYTES;
        Ok(Self { gateway, session, context, patience, server, buffer, room, framing, to_server, request })
    }

    pub(super) async fn run(mut self, head: &BytesMut) -> Result<Outcome> {
        self.send_head(head).await?;
        let Answer { head, body, is_kept_alive } = self.final_answer().await?;
        self.patience.end_leaving();
        exchange::take_answer(self.session, head.status, self.context)?;
        let has_ended = self.deliver(head, body).await?;
        let is_quiet = has_ended && self.buffer.is_empty();
        // The server has answered, and may still want the rest.
        while !self.is_request_over() {
            if !matches!(self.step().await, Ok(Step::Sent)) {
                return Ok(Outcome::Used);
            }
        }
        let is_reusable = is_kept_alive && is_quiet && matches!(self.request, Request::Read);
        Ok(if is_reusable { Outcome::Reusable(self.server) } else { Outcome::Used })
    }

    /// Sends the head, and what there is of the body, in one write where that is possible.
    async fn send_head(&mut self, head: &BytesMut) -> Result<()> {
        if self.framing == Framing::NoBody {
            // A fresh socket takes it; what it leaves waits as any part does.
            let sent = match self.server.try_write(head) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(unsent(error)),
            };
            if sent < head.len() {
                self.to_server = Bytes::copy_from_slice(&head[sent..]);
            }
            return Ok(());
        }
        let mut first = head.clone();
        // What another server got already.
        let sent = self.session.get_retry_buffer().unwrap_or_default();
        first.extend_from_slice(&self.framing.frame(sent, matches!(self.request, Request::Read)));
        if matches!(self.request, Request::Coming) {
            let come = tokio::select! {
                biased;
                part = self.session.read_request_body() => Some(part.map_err(Error::into_down)?),
                () = ready(()) => None,
            };
            if let Some(part) = come {
                first.extend_from_slice(&self.receive(part)?);
            }
        }
        self.to_server = first.freeze();
        Ok(())
    }

    /// The head of the answer that is no interim one (RFC 9110, section 15.2): those are passed on as they come.
    async fn final_answer(&mut self) -> Result<Answer> {
        loop {
            let method = &self.session.req_header().method;
            match http1::read_head(&mut self.buffer, method).map_err(no_answer)? {
                Some(answer) if answer.head.status == StatusCode::SWITCHING_PROTOCOLS => {
                    // What may be switched, tunnel.rs switches.
                    let explanation = "the server switched protocols without being asked to";
                    return Err(Error::explain(ErrorType::InvalidHTTPHeader, explanation).into_up());
                }
                Some(answer) if answer.head.status.is_informational() => {
                    self.pass_interim(answer.head).await?
                }
                Some(answer) => return Ok(answer),
                None => self.read_more().await?,
            }
        }
    }

    async fn pass_interim(&mut self, mut head: ResponseHeader) -> Result<()> {
        // It wasn't there in HTTP/1.0.
        if self.session.req_header().version == Version::HTTP_10 {
            return Ok(());
        }
        self.gateway.finish_header(self.session, &mut head, self.context)?;
        self.session.write_response_header(Box::new(head), false).await.map_err(Error::into_down)
    }

    async fn read_more(&mut self) -> Result<()> {
        loop {
            match self.step().await? {
                Step::Read(0) => {
                    // Of both, the first has the reason.
                    return Err(match std::mem::replace(&mut self.request, Request::Read) {
                        Request::Refused(error) => error,
                        _ => Error::explain(ErrorType::ConnectionClosed, "before an answer").into_up(),
                    });
                }
                Step::Read(_) => return Ok(()),
                Step::Sent => {}
            }
        }
    }

    /// Gives the answer to the client. Whether the server has said all of it.
    async fn deliver(&mut self, mut head: ResponseHeader, length: Length) -> Result<bool> {
        let mut body = Body::new(length);
        match (length, self.session.req_header().version) {
            (Length::Bytes(_), _) => {}
            // It finds the end where the connection ends.
            (_, Version::HTTP_10) => self.session.set_keepalive(None),
            _ => head.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?,
        }
        self.room = BODY_BYTES;
        self.gateway.begin_compression(self.session, &mut head, self.context)?;
        self.gateway.finish_header(self.session, &mut head, self.context)?;
        let written = self.session.write_response_header(Box::new(head), body.is_over()).await;
        written.map_err(Error::into_down)?;
        while !body.is_over() {
            let part = match body.take(&mut self.buffer).map_err(no_answer)? {
                Some(part) => part,
                None => match self.step().await? {
                    Step::Read(0) => body.end().map_err(no_answer)?,
                    Step::Read(_) | Step::Sent => continue,
                },
            };
            let mut bytes = Some(part.bytes);
            Gateway::compress(&mut bytes, part.is_last, self.context)?;
            self.session.write_response_body(bytes, part.is_last).await.map_err(Error::into_down)?;
        }
        Ok(length != Length::ToTheEnd)
    }

    /// Waits until something has happened.
    async fn step(&mut self) -> Result<Step> {
        let Self { session, patience, server, buffer, room, to_server, request, .. } = self;
        let (reader, mut writer) = server.split();
        let is_idle = to_server.is_empty() && !matches!(request, Request::Refused(_));
        tokio::select! {
            biased;
            read = read_part(reader, buffer, *room) => {
                let read = read.or_err(ErrorType::ReadError, "reading an answer");
                return read.map(Step::Read).map_err(Error::into_up);
            }
            written = writer.write(to_server), if !to_server.is_empty() => match written {
                Ok(bytes) => drop(to_server.split_to(bytes)),
                Err(error) => self.refuse(unsent(error)),
            },
            part = session.read_body_or_idle(matches!(request, Request::Read)), if is_idle => {
                let part = part.map_err(Error::into_down)?;
                self.to_server = self.receive(part)?;
            }
            waited_for = patience.over() => return Err(self.in_vain(waited_for)),
        }
        Ok(Step::Sent)
    }

    /// A part of the request's body has come, or its end: what the server gets of it. A body whose length nobody said is
    /// counted as it comes.
    fn receive(&mut self, part: Option<Bytes>) -> Result<Bytes> {
        let is_last = part.is_none() || self.session.is_body_done();
        let part = part.unwrap_or_default();
        let watch = &self.context.served.body;
        watch.receive(part.len());
        if watch.received_bytes() > self.context.max_body_bytes {
            watch.end();
            self.session.set_keepalive(None);
            let status = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
            return Error::e_explain(ErrorType::HTTPStatus(status), "the body is too large");
        }
        if is_last {
            self.request = Request::Read;
            self.context.end_request();
        }
        Ok(self.framing.frame(part, is_last))
    }

    fn is_request_over(&self) -> bool {
        match self.request {
            Request::Coming => false,
            Request::Read => self.to_server.is_empty(),
            Request::Refused(_) => true,
        }
    }

    /// The server takes no more; its answer may be on the way all the same.
    fn refuse(&mut self, error: Box<Error>) {
        self.to_server = Bytes::new();
        self.request = Request::Refused(error);
    }

    fn in_vain(&self, waited_for: WaitedFor) -> Box<Error> {
        let kind = match waited_for {
            WaitedFor::Answer => ErrorType::Custom(TOO_LATE),
            WaitedFor::Sign if self.to_server.is_empty() => ErrorType::ReadTimedout,
            WaitedFor::Sign => ErrorType::WriteTimedout,
        };
        Error::explain(kind, "a server that is silent").into_up()
    }
}

/// Reads what has come. Who waits holds no buffer.
async fn read_part(mut server: ReadHalf<'_>, buffer: &mut BytesMut, room: usize) -> io::Result<usize> {
    poll_fn(|cx| {
        if server.as_ref().poll_read_ready(cx)?.is_pending() {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
            return Poll::Pending;
        }
        buffer.reserve(room);
        pin!(server.read_buf(buffer)).poll(cx)
    })
    .await
}

fn unsent(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "sending a request", error).into_up()
}

fn no_answer(flaw: Flaw) -> Box<Error> {
    let kind = match flaw {
        Flaw::BrokenOff => ErrorType::ConnectionClosed,
        _ => ErrorType::InvalidHTTPHeader,
    };
    Error::because(kind, "an answer", flaw).into_up()
}
