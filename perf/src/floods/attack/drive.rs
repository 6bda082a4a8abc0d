//! Plays a script on a connection, and watches what the edge does.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use crate::floods::attack::observer::Observer;
use crate::floods::attack::outcome::{End, Life, describe};
use crate::floods::attack::script::{Reading, Script};

const READ_BYTES: usize = 4096;
/// How long the last words of an edge that takes no more bytes are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Plays the script until the edge closes the connection, at most until `until`.
pub(super) async fn drive<S>(stream: S, mut script: Script, until: Instant) -> Life
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let began = Instant::now();
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = Reader::new(reader, script.reading);
    let mut observer = Observer::new(script.protocol);
    let mut outgoing = Outgoing::new(script.next().unwrap_or_default());
    let mut next_batch = Some(began);
    // When nothing more could be written: since then only the edge's last words are of interest.
    let mut broken: Option<Instant> = None;
    let closed = loop {
        let due = next_batch.filter(|_| broken.is_none() && outgoing.is_done() && observer.is_ready());
        tokio::select! {
            () = sleep_until(broken.map_or(until, |since| until.min(since + LAST_WORDS))) => break broken,
            read = reader.read() => match read {
                Ok([]) => break Some(Instant::now()),
                Ok(bytes) => outgoing.append(&observer.observe(bytes)),
                Err(error) => {
                    observer.count(describe(&error));
                    break Some(Instant::now());
                }
            },
            written = outgoing.write(&mut writer), if broken.is_none() && !outgoing.is_done() => {
                if written.is_err() {
                    broken = Some(Instant::now());
                }
            }
            () = sleep_until(due.unwrap_or(until)), if due.is_some() => match script.next() {
                Some(batch) => {
                    outgoing.append(&batch);
                    next_batch = Some(Instant::now() + script.pause);
                }
                None => next_batch = None,
            },
        }
    };
    let end = closed.map_or(End::Kept, |at| End::Closed(at - began));
    Life { end, seen: observer.seen }
}

/// Reads at the script's speed.
struct Reader<S> {
    half: ReadHalf<S>,
    buffer: Vec<u8>,
    /// For a slow reader: when it reads next.
    next: Option<Instant>,
}

impl<S: AsyncRead> Reader<S> {
    fn new(half: ReadHalf<S>, reading: Reading) -> Self {
        let (size, next) = match reading {
            Reading::Eager => (READ_BYTES, None),
            Reading::Trickle => (1, Some(Instant::now())),
        };
        Self { half, buffer: vec![0; size], next }
    }

    /// The next bytes; none at the end. May be dropped at any time.
    async fn read(&mut self) -> io::Result<&[u8]> {
        if let Some(at) = self.next {
            sleep_until(at).await;
        }
        let count = self.half.read(&mut self.buffer).await?;
        self.next = self.next.map(|_| Instant::now() + Duration::from_secs(1));
        Ok(&self.buffer[..count])
    }
}

/// Bytes on their way out.
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    is_flushed: bool,
}

impl Outgoing {
    fn new(bytes: Vec<u8>) -> Self {
        Self { is_flushed: bytes.is_empty(), bytes, written: 0 }
    }

    fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.drain(..self.written);
        self.written = 0;
        self.bytes.extend_from_slice(bytes);
        self.is_flushed = false;
    }

    fn is_done(&self) -> bool {
        self.is_flushed
    }

    /// Goes a step on. May be dropped at any time.
    async fn write<S: AsyncWrite>(&mut self, writer: &mut WriteHalf<S>) -> io::Result<()> {
        if self.written < self.bytes.len() {
            let count = writer.write(&self.bytes[self.written..]).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += count;
        } else {
            writer.flush().await?;
            self.is_flushed = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floods::attack::script::Protocol;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn what_the_edge_answers_before_it_closes_is_seen() {
        let (client, mut server) = tokio::io::duplex(1024);
        let script = Script::new(Protocol::Http1, Duration::ZERO, b"hello".to_vec(), |_| None);
        let attack = tokio::spawn(drive(client, script, soon()));
        let mut request = [0; 5];
        server.read_exact(&mut request).await.expect("the opening");
        server.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.expect("an answer");
        drop(server);
        let life = attack.await.expect("a life");
        assert!(matches!(life.end, End::Closed(_)), "{life:?}");
        assert_eq!(life.seen.get("408"), Some(&1));
    }

    #[tokio::test]
    async fn a_connection_that_nobody_closes_is_kept() {
        let (client, _server) = tokio::io::duplex(1024);
        let script = Script::new(Protocol::Tcp, Duration::ZERO, Vec::new(), |_| None);
        let life = drive(client, script, Instant::now() + Duration::from_millis(20)).await;
        assert_eq!(life.end, End::Kept);
    }

    #[tokio::test]
    async fn http2_waits_for_the_edges_settings() {
        let (client, mut server) = tokio::io::duplex(1024);
        let script = Script::http2(Duration::ZERO, &[], |batch| (batch == 0).then(|| b"attack".to_vec()));
        let attack = tokio::spawn(drive(client, script, soon()));
        let mut opening = [0; 24 + 9 + 6];
        server.read_exact(&mut opening).await.expect("the opening");
        server.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("settings");
        let mut rest = [0; 9 + 6];
        server.read_exact(&mut rest).await.expect("more");
        assert_eq!(rest[..9], [0, 0, 0, 4, 1, 0, 0, 0, 0]);
        assert_eq!(&rest[9..], b"attack");
        drop(server);
        attack.await.expect("a life");
    }
}
