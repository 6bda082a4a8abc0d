//! How soon a sign-out at one backend counts at the other, at the edge, and for an open WebSocket.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::api::{Ask, Connection};
use crate::sign_in::ground::Ground;
use crate::statistics::{milliseconds, percentile};
use crate::user::User;

/// What everybody is promised is a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks; a figure is that much too high at most.
const LOOK: Duration = Duration::from_millis(1);

/// Rows of the table.
pub(super) async fn measure(ground: &Ground, times: u32) -> anyhow::Result<Vec<Vec<String>>> {
    let mut all: [Vec<Duration>; 3] = Default::default();
    for number in 0..times {
        let user = ground.sign_in(&format!("perf-leaver-{}", number % 50)).await?;
        let figures = sign_out(ground, &user, number as usize).await?;
        all.iter_mut().zip(figures).for_each(|(all, figure)| all.push(figure));
    }
    let names = ["the other backend's refusal", "the edge's refusal", "the WebSocket's end"];
    Ok(names
        .into_iter()
        .zip(&mut all)
        .map(|(name, figures)| {
            figures.sort_unstable();
            let at = |percent| percentile(figures, percent).map_or(0.0, milliseconds);
            let max = figures.last().copied().map_or(0.0, milliseconds);
            [at(50), at(99), max].iter().fold(
                vec![name.to_owned(), figures.len().to_string()],
                |mut row, ms| {
                    row.push(format!("{ms:.1}"));
                    row
                },
            )
        })
        .collect())
}

async fn sign_out(ground: &Ground, user: &User, number: usize) -> anyhow::Result<[Duration; 3]> {
    let mut other = ground.backends[1].connect().await?;
    let mut edge = ground.edge(number).await?;
    let me = Ask::get("/api/me").of(&user.access_token);
    for connection in [&mut other, &mut edge] {
        ensure!(connection.answer(&me).await?.0 == StatusCode::OK, "the token doesn't count to begin with");
    }
    let socket = open_socket(ground, user).await?;
    let mut leaving = ground.backends[0].connect().await?;
    let logout = Ask::post("/api/auth/logout", json!({ "refresh_token": user.refresh_token }));
    ensure!(leaving.answer(&logout).await?.0 == StatusCode::NO_CONTENT, "no sign-out");
    let told = Instant::now();
    let (first, second, third) = tokio::join!(
        until_refused(&mut other, &me, told),
        until_refused(&mut edge, &me, told),
        until_closed(socket, told)
    );
    Ok([first?, second?, third?])
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn open_socket(ground: &Ground, user: &User) -> anyhow::Result<Socket> {
    let address = ground.backends[1].address();
    let mut request = format!("ws://{address}/api/chat/ws").into_client_request()?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", user.access_token))?;
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    Ok(client_async(request, TcpStream::connect(address).await?).await.context("a WebSocket")?.0)
}

async fn until_refused(connection: &mut Connection, me: &Ask, told: Instant) -> anyhow::Result<Duration> {
    while told.elapsed() < PATIENCE {
        if connection.answer(me).await?.0 == StatusCode::UNAUTHORIZED {
            return Ok(told.elapsed());
        }
        sleep(LOOK).await;
    }
    anyhow::bail!("a token counts {PATIENCE:?} after its sign-out")
}

async fn until_closed(mut socket: Socket, told: Instant) -> anyhow::Result<Duration> {
    let closing = async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    timeout(PATIENCE, closing).await.context("a WebSocket outlives its session")?;
    Ok(told.elapsed())
}
