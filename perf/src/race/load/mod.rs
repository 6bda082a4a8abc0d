//! What contestants are loaded with: as much as they bear, and a fixed rate.
//!
//! `mod → {tools, newcomers, paced}`

mod newcomers;
mod paced;
mod tools;

use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use crate::race::client::Client;
use crate::race::ground::Ground;
use crate::race::options::Scenario;
use crate::race::runner::Runner;

/// Of HTTP/1.1.
const CONNECTIONS: usize = 64;
/// Of HTTP/2, and the requests at once on each.
const H2_CONNECTIONS: usize = 32;
const H2_STREAMS: usize = 10;
/// Clients that come anew each time.
const NEWCOMERS: usize = 16;

/// What became of the requests at full load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Count {
    /// Answered with 200.
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) per_second: f64,
}

/// What became of the requests at a fixed rate. Latency counts from when a request was due.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Pace {
    /// Requests that were due in a second.
    pub(super) rate: f64,
    pub(super) due: u64,
    pub(super) failed: u64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
    /// Why some failed: one of the reasons.
    pub(super) error: Option<String>,
}

/// As much as it bears, for so long.
pub(super) async fn full(
    runner: &Runner,
    ground: &Ground,
    scenario: Scenario,
    length: Duration,
) -> anyhow::Result<Count> {
    let token = runner.token(ground)?;
    let count = match scenario {
        Scenario::H1 => tools::wrk(&runner.target, token.as_deref(), length).await,
        Scenario::H2 => tools::h2load(&runner.target, token.as_deref(), length).await,
        Scenario::New => newcomers::run(client(runner, ground, scenario)?, length).await,
    }?;
    ensure!(count.done > 0, "no request was answered, {} failed", count.failed);
    Ok(count)
}

/// So many requests a second, for so long.
pub(super) async fn paced(
    runner: &Runner,
    ground: &Ground,
    scenario: Scenario,
    rate: f64,
    length: Duration,
) -> anyhow::Result<Pace> {
    paced::run(&client(runner, ground, scenario)?, scenario, rate, length).await
}

fn client(runner: &Runner, ground: &Ground, scenario: Scenario) -> anyhow::Result<Client> {
    let token = runner.token(ground)?;
    let ca = ground.folder.path("certificate.pem");
    Client::new(&runner.target, scenario.protocol(), &ca, token.as_deref())
}
