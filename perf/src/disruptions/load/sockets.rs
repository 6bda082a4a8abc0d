//! WebSockets that stay open and say something now and then, which must come back. Who loses theirs comes back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::ORIGIN;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::client::{Door, Protocol};
use super::record::{How, Record, SocketEnd};
use crate::target::source;

/// Where they are asked for.
pub(in crate::disruptions) const SOCKET: &str = "/api/chat/ws";
/// At once on their way in.
const MOST_OPENING: usize = 32;
const OPENING_PATIENCE: Duration = Duration::from_secs(15);
/// Longer than a server hangs here: its sockets needn't end.
const ECHO_PATIENCE: Duration = Duration::from_secs(20);
/// Between two messages of one socket, and up to twice as much.
const INTERVAL_MS: u64 = 1_000;
/// Until somebody comes back who lost a socket, and up to as much more.
const RETURN_MS: u64 = 250;
/// For the close frames of both.
const FAREWELL: Duration = Duration::from_secs(1);
/// Sources: 127.13.0.0/16.
const NET: u8 = 13;
/// A close frame without a code (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;

/// There are many, and they say little.
pub(in crate::disruptions) fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(1_024).write_buffer_size(0).max_message_size(Some(1_024))
}

/// Opens so many. With a `life` each leaves by itself after it, or up to twice as long, and comes back.
pub(super) fn start(
    door: &Arc<Door>,
    number: usize,
    life: Option<Duration>,
    record: &Record,
    tasks: &mut JoinSet<()>,
) {
    let openings = Arc::new(Semaphore::new(MOST_OPENING));
    for number in 0..number {
        let socket = Socket {
            door: Arc::clone(door),
            number,
            life: life.map(|life| life + spread(number, life)),
            openings: Arc::clone(&openings),
            record: record.clone(),
        };
        tasks.spawn(socket.live());
    }
}

/// Another part of `whole` for each number, so that they don't all do the same at once.
fn spread(number: usize, whole: Duration) -> Duration {
    let part = u32::try_from(number * 379 % 1_000).expect("less than a thousand");
    whole * part / 1_000
}

struct Socket {
    door: Arc<Door>,
    number: usize,
    life: Option<Duration>,
    openings: Arc<Semaphore>,
    record: Record,
}

type Stream = WebSocketStream<TlsStream<TcpStream>>;

impl Socket {
    async fn live(self) {
        loop {
            let (server, how) = match self.open().await {
                Ok((mut stream, server)) => {
                    self.record.opened();
                    let how = self.converse(&mut stream).await;
                    // Whether the other end takes leave as well is not what is measured.
                    let _ = timeout(FAREWELL, stream.close(None)).await;
                    (Some(server), how)
                }
                Err(why) => (None, How::Refused(why)),
            };
            self.record.ended(SocketEnd { at: Instant::now(), server, how });
            let pause = Duration::from_millis(RETURN_MS);
            sleep(pause + spread(self.number, pause)).await;
        }
    }

    /// A socket, and which server it leads to.
    async fn open(&self) -> Result<(Stream, usize), String> {
        let _permit = self.openings.acquire().await.map_err(|error| error.to_string())?;
        let opening = async {
            let from = source(NET, self.number);
            let stream =
                self.door.stream(from, Protocol::Http1).await.map_err(|failure| failure.to_string())?;
            let opened = client_async_with_config(self.request()?, stream, Some(small_buffers())).await;
            let (mut stream, _) = opened.map_err(|error| describe(&error))?;
            match stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let server = text.parse().map_err(|_| "an unknown server".to_owned())?;
                    Ok((stream, server))
                }
                _ => Err("nobody says who is there".to_owned()),
            }
        };
        timeout(OPENING_PATIENCE, opening).await.unwrap_or_else(|_| Err("timeout".into()))
    }

    /// As a page of the site asks.
    fn request(&self) -> Result<Request, String> {
        let authority = self.door.target.authority();
        let mut request =
            format!("wss://{authority}{SOCKET}").into_client_request().map_err(|error| describe(&error))?;
        let origin =
            HeaderValue::from_str(&format!("https://{authority}")).map_err(|error| error.to_string())?;
        request.headers_mut().insert(ORIGIN, origin);
        Ok(request)
    }

    /// Says numbers and hears them again, until it ends.
    async fn converse(&self, stream: &mut Stream) -> How {
        let interval = Duration::from_millis(INTERVAL_MS);
        let interval = interval + spread(self.number, interval);
        let leaves = self.life.map(|life| Instant::now() + life);
        let (mut said, mut awaited) = (0_u64, false);
        let mut next = Instant::now() + interval;
        loop {
            tokio::select! {
                heard = stream.next() => match heard {
                    Some(Ok(Message::Text(text))) if awaited && *text == *said.to_string() => {
                        awaited = false;
                        next = Instant::now() + interval;
                    }
                    Some(Ok(Message::Text(_))) => return How::Wrong,
                    Some(Ok(Message::Close(frame))) => {
                        return How::Closed(frame.map_or(NO_CODE, |frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return How::Broken,
                },
                () = sleep_until(next) => {
                    if awaited {
                        return How::Silent;
                    }
                    if leaves.is_some_and(|leaves| leaves <= Instant::now()) {
                        return How::Left;
                    }
                    said += 1;
                    awaited = true;
                    next = Instant::now() + ECHO_PATIENCE;
                    if stream.send(Message::text(said.to_string())).await.is_err() {
                        return last_words(stream).await;
                    }
                }
            }
        }
    }
}

/// What has come before nothing more could be said.
async fn last_words(stream: &mut Stream) -> How {
    let closing = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Close(frame) = message {
                return How::Closed(frame.map_or(NO_CODE, |frame| frame.code.into()));
            }
        }
        How::Broken
    };
    timeout(FAREWELL, closing).await.unwrap_or(How::Broken)
}

fn describe(error: &Error) -> String {
    match error {
        Error::Http(answer) => format!("status {}", answer.status().as_u16()),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_below_the_whole_and_differs() {
        let whole = Duration::from_secs(1);
        let all: std::collections::BTreeSet<_> = (0..1_000).map(|number| spread(number, whole)).collect();
        assert_eq!(all.len(), 1_000);
        assert!(all.iter().all(|part| *part < whole));
    }
}
