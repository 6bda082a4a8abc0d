//! A client's request and its answer, the same over HTTP/1 and HTTP/2.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use pingora::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, ErrorType, Result};

/// One request of a client's.
pub(super) struct Session(ServerSession);

impl Session {
    pub(super) fn new(session: ServerSession) -> Self {
        Self(session)
    }

    /// Sends the head of an answer; with `is_end` that is all of it. HTTP/2 has to hear so at once: of a 304 it takes the
    /// length of what isn't sent for that of what is.
    pub(super) async fn write_response_header(
        &mut self,
        head: Box<ResponseHeader>,
        is_end: bool,
    ) -> Result<()> {
        match &mut self.0 {
            ServerSession::H2(stream) => stream.write_response_header(head, is_end),
            session => session.write_response_header(head).await,
        }
    }

    /// Sends a part of an answer's body, if there is one, and its end.
    pub(super) async fn write_response_body(&mut self, part: Option<Bytes>, is_end: bool) -> Result<()> {
        match part {
            None if !is_end => Ok(()),
            part => self.0.write_response_body(part.unwrap_or_default(), is_end).await,
        }
    }

    /// Sends what waits to be sent together with more: there will be no more of this answer.
    pub(super) async fn break_off(&mut self) {
        let failed = HttpTask::Failed(Error::new(ErrorType::ConnectionClosed));
        // The failure comes back; beside another task it is preceded by what was written.
        let _ = self.0.response_duplex_vec(vec![HttpTask::Body(None, false), failed]).await;
    }

    /// The answer is complete. Gives back the connection, if another request may follow on it.
    pub(super) async fn end(self) -> Option<ReusedHttpStream> {
        let settings = HttpPersistentSettings::for_session(&self.0);
        let stream = self.0.finish().await.ok().flatten()?;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

impl Deref for Session {
    type Target = ServerSession;

    fn deref(&self) -> &ServerSession {
        &self.0
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut ServerSession {
        &mut self.0
    }
}
