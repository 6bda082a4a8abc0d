//! An HTTP/1 connection, byte by byte: no client library tidies what is sent.

use std::io::Result;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Duration, timeout};

use crate::edge_process::{Edge, TlsConnection};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection and what was read of it too early.
pub(crate) struct Wire<S = TlsConnection> {
    pub(crate) stream: S,
    early: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Wire {
    /// From 127.0.0.1.
    pub(crate) async fn open(edge: &Edge) -> Self {
        Self::open_from(edge, [127, 0, 0, 1]).await
    }

    /// From another address of this machine.
    pub(crate) async fn open_from(edge: &Edge, address: [u8; 4]) -> Self {
        Self::new(edge.dial(edge.tls_client(&[]), "localhost", address).await.expect("TLS"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, early: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// The next answer with a Content-Length; `None` at the connection's end.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            match self.early.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if self.more().await => {}
                None => return None,
            }
        };
        let head = String::from_utf8_lossy(&self.early[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let end_of_body = end + length.unwrap_or(0);
        while self.early.len() < end_of_body && self.more().await {}
        let body = self.early[end..end_of_body.min(self.early.len())].to_vec();
        self.early.drain(..end_of_body.min(self.early.len()));
        Some(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// All that still comes until the connection ends.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.early)).into_owned()
    }

    /// All bytes that come until the connection ends.
    pub(crate) async fn all(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.early)
    }

    /// Whether the connection has ended, and nothing came before.
    pub(crate) async fn ends(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.early))
            .await
            .expect("bytes, or an end, in time");
        // An end without a goodbye is one too.
        read.is_ok_and(|bytes| bytes > 0)
    }
}
