//! The routes of chat.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use crate::auth::current_user::CurrentUser;
use crate::extract::{Json, Path, Query};
use crate::pagination::{self, Page};
use crate::problem::Problem;

use super::model::{Message, Room};
use super::service::{Chat, ChatError};
use super::{socket, ticket};

/// A frame holds one message of 4,000 characters, whatever they cost in JSON: escaped, a character beyond the basic
/// plane takes twelve bytes.
const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The library's default of 128 KiB would be what a quiet socket costs.
const READ_BUFFER_BYTES: usize = 4096;

/// Full is full for a while.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// All routes of chat.
pub fn router(chat: Chat) -> Router {
    Router::new()
        .route("/api/chat/rooms", post(open_room).get(rooms))
        .route("/api/chat/rooms/{id}/messages", get(messages))
        .route("/api/chat/ws-ticket", post(ws_ticket))
        .route("/api/chat/ws", get(ws))
        .with_state(chat)
}

#[derive(Deserialize)]
struct OpenRoom {
    vendor_id: String,
}

#[derive(Deserialize)]
struct RoomsQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct MessagesQuery {
    before_seq: Option<i64>,
    after_seq: Option<i64>,
    cursor: Option<String>,
    limit: Option<u32>,
}

/// Where in a room's history a page begins.
#[derive(Clone, Copy)]
enum Start {
    /// The newest messages before this number.
    Before(i64),
    /// The oldest messages after this number.
    After(i64),
}

#[derive(Deserialize)]
struct WsQuery {
    ticket: Option<String>,
}

async fn open_room(
    State(chat): State<Chat>,
    user: CurrentUser,
    Json(body): Json<OpenRoom>,
) -> Result<(StatusCode, Json<Room>), Problem> {
    let (room, is_new) = chat.open_room(&user, &body.vendor_id).await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(room)))
}

async fn rooms(
    State(chat): State<Chat>,
    user: CurrentUser,
    Query(query): Query<RoomsQuery>,
) -> Result<Json<Page<Room>>, Problem> {
    let limit = pagination::limit(query.limit)?;
    let parse = |key: &str| uuid::Uuid::try_parse(key).is_ok().then(|| key.to_owned());
    // Every id is below this.
    let before = pagination::after(query.cursor.as_deref(), parse)?.unwrap_or_else(|| "~".to_owned());
    let rooms = chat.rooms(&user, &before, i64::from(limit) + 1).await?;
    Ok(Json(Page::of(rooms, limit, |room| room.id.clone())))
}

/// Newest first when asked for what is before a number or for nothing in particular, oldest first after one; the
/// items themselves are always in order. The cursor goes on in the same direction.
async fn messages(
    State(chat): State<Chat>,
    user: CurrentUser,
    Path(room): Path<String>,
    Query(query): Query<MessagesQuery>,
) -> Result<Json<Page<Message>>, Problem> {
    let limit = pagination::limit(query.limit)?;
    let wanted = i64::from(limit) + 1;
    match query.start()? {
        Start::After(seq) => {
            let items = chat.messages_after(&user.id, &room, seq, wanted).await?;
            Ok(Json(Page::of(items, limit, |last| Start::After(last.seq).to_key())))
        }
        Start::Before(seq) => {
            let mut items = chat.messages_before(&user.id, &room, seq, wanted).await?;
            items.reverse();
            let mut page = Page::of(items, limit, |first| Start::Before(first.seq).to_key());
            page.items.reverse();
            Ok(Json(page))
        }
    }
}

impl MessagesQuery {
    fn start(&self) -> Result<Start, Problem> {
        let cursor = pagination::after(self.cursor.as_deref(), Start::from_key)?;
        match (cursor, self.before_seq, self.after_seq) {
            (None, None, None) => Ok(Start::Before(i64::MAX)),
            (Some(start), None, None) => Ok(start),
            (None, Some(seq), None) => Ok(Start::Before(seq)),
            (None, None, Some(seq)) => Ok(Start::After(seq)),
            _ => Err(Problem::unprocessable(
                "invalid-query",
                "Give one of `before_seq`, `after_seq` and `cursor` only.",
            )),
        }
    }
}

impl Start {
    fn to_key(self) -> String {
        match self {
            Self::Before(seq) => format!("before:{seq}"),
            Self::After(seq) => format!("after:{seq}"),
        }
    }

    fn from_key(key: &str) -> Option<Self> {
        match key.split_once(':')? {
            ("before", seq) => seq.parse().ok().map(Self::Before),
            ("after", seq) => seq.parse().ok().map(Self::After),
            _ => None,
        }
    }
}

async fn ws_ticket(State(chat): State<Chat>, user: CurrentUser) -> Response {
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = json!({"ticket": chat.issue_ticket(&user), "expires_in": ticket::LIFE.as_secs()});
    ([no_store], Json(body)).into_response()
}

/// Whether the page that opens the socket may is the gateway's to decide: it checks Origin.
async fn ws(
    State(chat): State<Chat>,
    user: Option<CurrentUser>,
    Query(query): Query<WsQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| {
        Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", "This path takes WebSockets.")
            .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
    })?;
    let user = match (user, query.ticket) {
        (Some(user), _) => user,
        (None, Some(ticket)) => chat.redeem(&ticket).await?,
        (None, None) => {
            return Err(Problem::unauthorized("token-missing", "This takes a ticket or an access token."));
        }
    };
    let registration = chat.connect(&user).await?;
    Ok(upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(|socket| async move {
            let tracker = chat.clone();
            tracker.track(socket::run(socket, chat, user, registration)).await;
        }))
}

impl From<ChatError> for Problem {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::NoSuchRoom => Self::not_found("There is no such room."),
            ChatError::NoSuchVendor => Self::unprocessable("unknown-vendor", "There is no such vendor."),
            ChatError::OwnVendor => Self::unprocessable("own-vendor", "The vendor is your own."),
            ChatError::InvalidMessage(detail) => Self::unprocessable("invalid-message", detail),
            ChatError::InvalidTicket => {
                Self::unauthorized("invalid-ticket", "The ticket is not valid, or no longer.")
            }
            ChatError::WrongToken => {
                Self::unauthorized("invalid-token", "The token is not one of this socket's session.")
            }
            cause @ ChatError::TooManyConnections => Self::unavailable(&cause, FULL_RETRY),
            ChatError::Redis(error) => error.into(),
            ChatError::Database(error) => error.into(),
            cause @ ChatError::Aborted(_) => Self::internal(&cause),
        }
    }
}
