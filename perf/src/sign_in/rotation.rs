//! The signing key is rotated while tokens of both keys are used everywhere.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::api::Ask;
use crate::sign_in::ground::Ground;
use crate::user::User;

/// A key is waited for so long.
const PATIENCE: Duration = Duration::from_secs(900);
/// After it signs, the last tokens of the one before go on being used.
const AFTER: Duration = Duration::from_secs(90);
/// Between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(20);
/// Of one client through the edge: less than the shipped limit of a minute.
const REQUESTS_OF_A_CLIENT: usize = 50;

pub(super) struct Rotation {
    /// From the command until the new key signs.
    pub(super) took: Duration,
    pub(super) requests: u64,
    pub(super) refused: u64,
}

pub(super) async fn run(ground: &Ground, program: &Path, config: &Path) -> anyhow::Result<Rotation> {
    let mut user = ground.sign_in("perf-rotation").await?;
    let first = key_of(&user)?;
    let status = Command::new(program).args(["keys", "rotate"]).arg(config).status().await;
    ensure!(status.with_context(|| program.display().to_string())?.success(), "no rotation");
    let began = Instant::now();
    let mut rotation = Rotation { took: Duration::ZERO, requests: 0, refused: 0 };
    let mut tokens = vec![user.access_token.clone()];
    let mut api = [ground.backends[0].connect().await?, ground.backends[1].connect().await?];
    let mut edge = ground.edge(0).await?;
    for round in 0_usize.. {
        let is_rotated = rotation.took > Duration::ZERO;
        if is_rotated && began.elapsed() > rotation.took + AFTER {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "the new key doesn't sign");
        if round % REQUESTS_OF_A_CLIENT == 0 {
            edge = ground.edge(round / REQUESTS_OF_A_CLIENT + 1).await?;
        }
        let refresh = Ask::post("/api/auth/refresh", json!({ "refresh_token": user.refresh_token }));
        user = User::parse(&api[round % 2].ask(&refresh).await?)?;
        if !is_rotated && key_of(&user)? != first {
            rotation.took = began.elapsed();
        }
        // The newest, and one of the first key.
        tokens.truncate(1);
        tokens.push(user.access_token.clone());
        let me = Ask::get("/api/me").of(&tokens[round % tokens.len()]);
        for connection in api.iter_mut().chain([&mut edge]) {
            rotation.requests += 1;
            rotation.refused += u64::from(connection.answer(&me).await?.0 != StatusCode::OK);
        }
        sleep(PAUSE).await;
    }
    Ok(rotation)
}

/// The id of the key that signed the access token.
fn key_of(user: &User) -> anyhow::Result<String> {
    let header = user.access_token.split('.').next().context("no token")?;
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    Ok(header["kid"].as_str().context("no key id")?.to_owned())
}
