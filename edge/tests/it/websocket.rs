//! WebSockets through the gate.

use access_token::Role;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::edge_process::{Edge, TlsConnection};

pub(crate) type Socket = WebSocketStream<TlsConnection>;

/// Opens the chat socket with these fields, or gives the status that refused it.
pub(crate) async fn open(edge: &Edge, fields: &[(&'static str, String)]) -> Result<Socket, u16> {
    let mut request =
        edge.url("/api/chat/ws").replace("https", "wss").into_client_request().expect("a request");
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().expect("a value"));
    }
    match client_async(request, edge.connect().await).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn own_origin(edge: &Edge) -> (&'static str, String) {
    ("origin", edge.url(""))
}

#[tokio::test]
async fn messages_travel_both_ways() {
    let edge = Edge::start().await;
    let mut socket = open(&edge, &[own_origin(&edge)]).await.expect("a socket");
    for text in ["first", "second"] {
        socket.send(Message::text(text)).await.expect("sent");
        assert_eq!(socket.next().await.expect("a message").expect("readable"), Message::text(text));
    }
}

#[tokio::test]
async fn a_foreign_page_may_not_open_a_socket() {
    let edge = Edge::start().await;
    let token = ("authorization", format!("Bearer {}", edge.signer.token(Role::User)));
    for origin in ["https://evil.example", "null", "http://localhost"] {
        let refused = open(&edge, &[("origin", origin.to_owned()), token.clone()]).await;
        assert_eq!(refused.err(), Some(403), "{origin}");
    }
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_client_without_an_origin_needs_a_valid_token() {
    let edge = Edge::start().await;
    assert_eq!(open(&edge, &[]).await.err(), Some(401));
    assert_eq!(open(&edge, &[("authorization", "Bearer nonsense".into())]).await.err(), Some(401));
    assert!(edge.received().is_empty());
    let token = ("authorization", format!("Bearer {}", edge.signer.token(Role::User)));
    assert!(open(&edge, &[token]).await.is_ok());
}
