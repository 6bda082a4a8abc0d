//! A chat client, and a room to talk in.

use std::time::Duration;

use access_token::Role;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::harness::{Stack, TestUser};

const PATIENCE: Duration = Duration::from_secs(20);

/// An open socket.
pub struct Client(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

/// A user, a vendor's owner, and their room.
pub struct Pair {
    pub user: TestUser,
    pub owner: TestUser,
    pub vendor: String,
    pub room: String,
}

impl Pair {
    pub async fn new(stack: &Stack) -> Self {
        let owner = stack.user("Owner", Role::Vendor).await;
        Self::with_owner(stack, &owner).await
    }

    /// Another user who talks to a vendor of this owner.
    pub async fn with_owner(stack: &Stack, owner: &TestUser) -> Self {
        let user = stack.user("Alice", Role::User).await;
        let vendor = stack.vendor("Hair", Some(owner)).await;
        let room = stack.post_as(&user, "/api/chat/rooms", json!({"vendor_id": vendor})).await.expect(201);
        let room = room["id"].as_str().expect("an id").to_owned();
        Self { user, owner: owner.clone(), vendor, room }
    }
}

impl Client {
    /// Opens a socket on the backend `n` by access token.
    pub async fn open(stack: &Stack, n: usize, user: &TestUser) -> Self {
        let mut request = ws_url(stack, n, "").into_client_request().expect("a request");
        let bearer = format!("Bearer {}", user.token).parse().expect("a header");
        request.headers_mut().insert("authorization", bearer);
        Self(tokio_tungstenite::connect_async(request).await.expect("connected").0)
    }

    /// Opens a socket by ticket, or says with which status it was refused.
    pub async fn open_by_ticket(stack: &Stack, n: usize, ticket: &str) -> Result<Self, u16> {
        match tokio_tungstenite::connect_async(ws_url(stack, n, &format!("?ticket={ticket}"))).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.expect("sent");
    }

    pub async fn send(&mut self, room: &str, client_id: &str, body: &str) {
        self.say(json!({"type": "send", "room": room, "client_id": client_id, "body": body})).await;
    }

    /// The next frame.
    pub async fn hear(&mut self) -> Value {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time");
            match frame.expect("an open socket").expect("a frame") {
                Message::Text(text) => return serde_json::from_str(&text).expect("json"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next frame of this type; others are passed over.
    pub async fn hear_type(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.hear().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The code that the server closes with; frames before it are passed over.
    pub async fn close_code(&mut self) -> u16 {
        self.end().await.expect("an end with a code")
    }

    /// How the socket ends: with a code, or without where the server could not send one.
    pub async fn end(&mut self) -> Option<u16> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("an end in time");
            match frame {
                Some(Ok(Message::Close(Some(frame)))) => return Some(frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Proves that nothing else was on its way: the next frame answers what is asked now.
    pub async fn expect_nothing_more(&mut self) {
        self.say(json!({"type": "nothing"})).await;
        let frame = self.hear().await;
        assert_eq!(frame["problem"]["type"], "/problems/unknown-frame", "{frame}");
    }
}

fn ws_url(stack: &Stack, n: usize, query: &str) -> String {
    stack.url(n, &format!("/api/chat/ws{query}")).replacen("http", "ws", 1)
}
