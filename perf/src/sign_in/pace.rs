//! How many a second by a closed loop, how long each takes, and what it costs.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::{Ask, Connection};
use crate::process;
use crate::sign_in::ground::Ground;
use crate::statistics::{milliseconds, percentile};
use crate::user::{User, sign_in};

/// Clients, each of which waits for an answer before it asks again.
const CLIENTS: usize = 16;

/// Minted before: the provider's own work is not what is measured. More than are used in a second.
const TOKENS_A_SECOND: u64 = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SignIn,
    Refresh,
}

/// A row of the table.
pub(super) async fn measure(
    name: &str,
    ground: &Ground,
    time: Duration,
    kind: Kind,
) -> anyhow::Result<Vec<String>> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::prepare(ground, number, time, kind).await?);
    }
    let before = cpu(ground)?;
    let began = Instant::now();
    let done = try_join_all(clients.into_iter().map(|client| client.run(began + time))).await?;
    let took = began.elapsed().as_secs_f64();
    let after = cpu(ground)?;
    let failed: u64 = done.iter().map(|done| done.failed).sum();
    let mut latencies: Vec<Duration> = done.into_iter().flat_map(|done| done.latencies).collect();
    latencies.sort_unstable();
    let count = u32::try_from(latencies.len()).context("too many")?;
    anyhow::ensure!(count > 0, "nothing was answered");
    let at = |percent| percentile(&latencies, percent).map_or(0.0, milliseconds);
    let each = |index: usize| (after[index].saturating_sub(before[index]) / count).as_secs_f64() * 1e6;
    Ok(vec![
        name.to_owned(),
        format!("{:.0}", f64::from(count) / took),
        format!("{:.2}", at(50)),
        format!("{:.2}", at(99)),
        format!("{:.0}", each(0)),
        format!("{:.0}", each(1)),
        failed.to_string(),
    ])
}

/// Of both backends, and of Redis.
fn cpu(ground: &Ground) -> anyhow::Result<[Duration; 2]> {
    let [first, second] = ground.backend_pids.map(process::cpu_time_with_children);
    Ok([first? + second?, process::cpu_time_with_children(ground.redis_pid)?])
}

struct Client {
    connection: Connection,
    kind: Kind,
    /// Not used yet.
    id_tokens: Vec<Value>,
    user: User,
}

struct Done {
    latencies: Vec<Duration>,
    failed: u64,
}

impl Client {
    async fn prepare(ground: &Ground, number: usize, time: Duration, kind: Kind) -> anyhow::Result<Self> {
        let (mut api, mut provider) = (ground.backends[0].connect().await?, ground.provider.connect().await?);
        let sub = format!("perf-pace-{number}");
        let user = sign_in(&mut api, &mut provider, &sub).await?;
        let mut id_tokens = Vec::new();
        let wanted = if kind == Kind::SignIn { (time.as_secs() + 1) * TOKENS_A_SECOND } else { 0 };
        for _ in 0..wanted {
            let who = json!({ "sub": sub, "name": sub, "nonce": "n" });
            id_tokens.push(provider.ask(&Ask::post("/google/mint", who)).await?["id_token"].take());
        }
        Ok(Self { connection: ground.backends[number % 2].connect().await?, kind, id_tokens, user })
    }

    async fn run(mut self, until: Instant) -> anyhow::Result<Done> {
        let mut done = Done { latencies: Vec::new(), failed: 0 };
        while Instant::now() < until {
            let ask = match self.kind {
                Kind::SignIn => {
                    let Some(id_token) = self.id_tokens.pop() else { break };
                    let login = json!({ "provider": "google", "id_token": id_token, "nonce": "n" });
                    Ask::post("/api/auth/login", login)
                }
                Kind::Refresh => {
                    Ask::post("/api/auth/refresh", json!({ "refresh_token": self.user.refresh_token }))
                }
            };
            let began = Instant::now();
            let (status, body) = self.connection.answer(&ask).await?;
            done.latencies.push(began.elapsed());
            match status {
                StatusCode::OK => self.user = User::parse(&body)?,
                _ => done.failed += 1,
            }
        }
        Ok(done)
    }
}
