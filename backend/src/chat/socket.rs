//! One WebSocket: what the client says, what it is told, and all the ways it ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket};
use axum::http::StatusCode;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::watch;

use crate::auth::current_user::CurrentUser;
use crate::clock::EpochMillis;
use crate::problem::Problem;

use super::hub::{Connection, Registration};
use super::model::{ClientFrame, Message, ServerFrame};
use super::outbox::Frames;
use super::service::Chat;
use super::store::Draft;

/// How often a quiet client is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A client that says nothing for this long, not even a pong, is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// A client that takes nothing for this long reads too slowly, however little waits for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the close frame may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Told to go, clients come back spread over this time.
const RECONNECT_SPREAD_MS: std::ops::Range<u64> = 100..2000;

/// How long to wait before trying to catch up again when the database failed.
const CATCH_UP_RETRY: Duration = Duration::from_secs(1);

/// Why a socket ends, and the code that says so (RFC 6455, section 7.4; 4000 and above are ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client went, or its connection broke.
    Gone,
    /// The process stops: 1012.
    Restart,
    /// The access token ended and wasn't renewed: 4001.
    TokenExpired,
    /// The session ended, or the user's rights changed: 4003.
    Revoked,
    /// Nothing was heard: 4002.
    Silent,
    /// The client reads too slowly: 4008.
    TooSlow,
    /// Frames are text: 1003.
    Binary,
}

impl End {
    fn close_frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Gone => return None,
            Self::Restart => (1012, "restart"),
            Self::TokenExpired => (4001, "token expired"),
            Self::Revoked => (4003, "session ended"),
            Self::Silent => (4002, "silent"),
            Self::TooSlow => (4008, "too slow"),
            Self::Binary => (1003, "text only"),
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

/// Runs a socket to its end.
pub(super) async fn run(socket: WebSocket, chat: Chat, user: CurrentUser, mut registration: Registration) {
    let (mut sink, stream) = socket.split();
    let end = serve(&mut sink, stream, &chat, &user, &mut registration).await;
    // Nothing is delivered to it any more, while its client is told why.
    drop(registration);
    tracing::debug!(user = user.id, ?end, "socket ended");
    if end == End::Restart {
        let after_ms = rand::random_range(RECONNECT_SPREAD_MS);
        let frame = Frame::Text(ServerFrame::Reconnect { after_ms }.to_text());
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, sink.send(frame)).await;
    }
    if let Some(frame) = end.close_frame() {
        // A client that doesn't read doesn't hold us up.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, sink.send(Frame::Close(Some(frame)))).await;
    }
}

async fn serve(
    sink: &mut SplitSink<WebSocket, Frame>,
    stream: SplitStream<WebSocket>,
    chat: &Chat,
    user: &CurrentUser,
    registration: &mut Registration,
) -> End {
    let (expiry, expires_at) = watch::channel(user.expires_at);
    let pulse = Pulse::new();
    let connection = registration.connection.clone();
    tokio::select! {
        end = read(stream, chat, user, &connection, &expiry, &pulse) => end,
        end = write(sink, &mut registration.frames, &connection, &pulse) => end,
        () = connection.outbox.overflowed() => End::TooSlow,
        never = catch_up(chat, &connection) => match never {},
        () = expired(expires_at) => End::TokenExpired,
        () = connection.revoked() => End::Revoked,
        () = chat.closing() => End::Restart,
    }
}

/// When the client was last heard.
struct Pulse {
    start: Instant,
    last_ms: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn beat(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

async fn read(
    mut stream: SplitStream<WebSocket>,
    chat: &Chat,
    user: &CurrentUser,
    connection: &Arc<Connection>,
    expiry: &watch::Sender<u64>,
    pulse: &Pulse,
) -> End {
    while let Some(Ok(frame)) = stream.next().await {
        pulse.beat();
        match frame {
            Frame::Text(text) => answer(&text, chat, user, connection, expiry).await,
            Frame::Binary(_) => return End::Binary,
            Frame::Close(_) => return End::Gone,
            // The library answers pings.
            Frame::Ping(_) | Frame::Pong(_) => {}
        }
    }
    End::Gone
}

async fn write(
    sink: &mut SplitSink<WebSocket, Frame>,
    frames: &mut Frames,
    connection: &Connection,
    pulse: &Pulse,
) -> End {
    let mut ping = tokio::time::interval(PING_INTERVAL);
    ping.tick().await;
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => match frame {
                Some(text) => Frame::Text(text),
                None => return End::Gone,
            },
            _ = ping.tick() => {
                if pulse.silence() > SILENCE_LIMIT {
                    return End::Silent;
                }
                Frame::Ping(bytes::Bytes::new())
            }
        };
        let text = if let Frame::Text(text) = &frame { Some(text.clone()) } else { None };
        match tokio::time::timeout(WRITE_TIMEOUT, sink.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Gone,
            Err(_) => return End::TooSlow,
        }
        if let Some(text) = text {
            connection.outbox.note_written(&text);
        }
    }
}

/// Waits for the token's end, which a renewal puts off.
async fn expired(mut expires_at: watch::Receiver<u64>) {
    loop {
        let end_ms = expires_at.borrow_and_update().saturating_mul(1000);
        let now_ms = u64::try_from(EpochMillis::now().0).unwrap_or(0);
        let Some(left) = end_ms.checked_sub(now_ms).filter(|left| *left > 0) else { return };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(left)) => {}
            changed = expires_at.changed() => if changed.is_err() { return },
        }
    }
}

/// Looks into the database whenever something may have been missed. It ends with the socket.
async fn catch_up(chat: &Chat, connection: &Connection) -> Infallible {
    loop {
        connection.is_behind().await;
        if let Err(error) = chat.catch_up(connection).await {
            tracing::warn!(%error, "a socket couldn't catch up");
            tokio::time::sleep(CATCH_UP_RETRY).await;
            connection.fell_behind();
        }
    }
}

async fn answer(
    text: &str,
    chat: &Chat,
    user: &CurrentUser,
    connection: &Arc<Connection>,
    expiry: &watch::Sender<u64>,
) {
    let frame = match serde_json::from_str::<ClientFrame>(text) {
        Ok(frame) => frame,
        Err(_) => return refuse(connection, &malformed_frame(), None, None),
    };
    match frame {
        ClientFrame::Send { room, client_id, body } => {
            let draft = Draft { room, sender: user.id.clone(), client_id, body };
            let (to, room, client_id) = (connection.clone(), draft.room.clone(), draft.client_id.clone());
            let ack = move |message: &Message| {
                let Message { room, client_id, seq, .. } = message;
                to.outbox.push(ServerFrame::Ack { room, client_id, seq: *seq }.to_text());
            };
            if let Err(error) = chat.send(draft, ack).await {
                refuse(connection, &error.into(), Some(&room), Some(&client_id));
            }
        }
        ClientFrame::Sync { room, after_seq } => {
            if let Err(error) = chat.sync(connection, &room, after_seq).await {
                refuse(connection, &error.into(), Some(&room), None);
            }
        }
        ClientFrame::Renew { access_token } => match chat.renew(user, &access_token) {
            Ok(renewed) => {
                connection.renew(renewed.issued_ms);
                expiry.send_replace(renewed.expires_at);
            }
            Err(error) => refuse(connection, &error.into(), None, None),
        },
        ClientFrame::Unknown => {
            let problem =
                Problem::new(StatusCode::BAD_REQUEST, "unknown-frame", "This server knows no such frame.");
            refuse(connection, &problem, None, None);
        }
    }
}

fn malformed_frame() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-frame", "Expected one JSON object of a known form.")
}

fn refuse(connection: &Connection, problem: &Problem, room: Option<&str>, client_id: Option<&str>) {
    let frame = ServerFrame::Error { problem: problem.document(), room, client_id };
    connection.outbox.push(frame.to_text());
}
