//! Whether a contestant does what it shall, before it is measured: a gateway that doesn't check is quick.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::StatusCode;
use tokio::time::{Instant, sleep, timeout};

use crate::race::client::{Client, Protocol};
use crate::race::contestants::Policy;
use crate::race::ground::Ground;
use crate::race::runner::Runner;
use crate::race::tokens::Quality;
use crate::race::upstreams::page;

/// How long a contestant may take until it serves.
const START: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(3);
/// One that every policy lets in.
const INSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// One that the full policy doesn't.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 1);

/// Waits until it serves, and sees that it lets in and refuses whom it shall, by HTTP/1.1 and HTTP/2.
pub(super) async fn check(runner: &mut Runner, ground: &Ground) -> anyhow::Result<()> {
    wait(runner, ground).await?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let good = runner.token(ground)?;
        let (status, body) = ask(runner, ground, protocol, good.as_deref(), INSIDE).await?;
        ensure!(status == StatusCode::OK, "it answers a good request with {status}");
        ensure!(body == page(), "it changes the body: {} bytes", body.len());
        if runner.policy == Policy::None {
            continue;
        }
        let refused = |status| matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let (status, _) = ask(runner, ground, protocol, None, INSIDE).await?;
        ensure!(refused(status), "it answers {status} without a token");
        for quality in [Quality::Forged, Quality::Ended] {
            let token = ground.tokens.issue(runner.kind.algorithm(), quality)?;
            let (status, _) = ask(runner, ground, protocol, Some(&token), INSIDE).await?;
            ensure!(refused(status), "it answers {status} to a token that is {quality:?}");
        }
        let (status, _) = ask(runner, ground, protocol, good.as_deref(), OUTSIDE).await?;
        ensure!(status == StatusCode::FORBIDDEN, "it answers {status} to an address that isn't allowed");
    }
    Ok(())
}

/// Until it answers a good request: it may still have to look at its servers and their keys.
async fn wait(runner: &mut Runner, ground: &Ground) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let token = runner.token(ground)?;
        let seen = match ask(runner, ground, Protocol::Http1, token.as_deref(), INSIDE).await {
            Ok((StatusCode::OK, _)) => return Ok(()),
            Ok((status, _)) => format!("it answers {status}"),
            Err(error) => format!("{error:#}"),
        };
        if !runner.runs() {
            bail!("it has ended: {}", runner.last_words());
        }
        if began.elapsed() > START {
            bail!("it doesn't serve: {seen}; {}", runner.last_words());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn ask(
    runner: &Runner,
    ground: &Ground,
    protocol: Protocol,
    token: Option<&str>,
    from: Ipv4Addr,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let client = Client::new(&runner.target, protocol, &ground.folder.path("certificate.pem"), token)?;
    let asked = async {
        let mut connection = client.connect(from).await.context("no connection")?;
        let answer = connection.ask(&client).await;
        connection.close().await;
        answer
    };
    timeout(PATIENCE, asked).await.context("no answer in time")?
}
