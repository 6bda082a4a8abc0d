//! What an open WebSocket takes of the edge's memory, and what stays of it when many come and go.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::disruptions::edge::Edge;
use crate::disruptions::ground::Ground;
use crate::disruptions::load::Load;
use crate::disruptions::options::SocketsArguments;
use crate::{process, table, terminal};

/// Before memory is looked at: buffers of what has just happened go.
const SETTLE: Duration = Duration::from_secs(3);

/// What came of it. Memory is PSS, in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Churn {
    sockets: usize,
    /// Before the first WebSocket.
    at_rest: u64,
    rounds: Vec<Round>,
}

/// All are opened, and closed again.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    open: u64,
    closed: u64,
}

pub(super) async fn churn(arguments: &SocketsArguments) -> anyhow::Result<Churn> {
    let ground = Ground::prepare()?;
    let mut edge = Edge::start(&arguments.edge, &ground).await?;
    let sockets = arguments.edge.sockets;
    sleep(SETTLE).await;
    let memory = |edge: &Edge| process::proportional_bytes_with_children(edge.pid());
    let mut churn = Churn { sockets, at_rest: memory(&edge)?, rounds: Vec::new() };
    for _ in 0..arguments.rounds {
        let load = Load::of_sockets(&edge.door, sockets);
        edge.wait_until("all WebSockets are open", async |_| load.record.open_sockets() == sockets).await?;
        sleep(SETTLE).await;
        let open = memory(&edge)?;
        drop(load);
        edge.wait_until("all connections are gone", async |edge| {
            matches!(edge.admin.metric("edge_connections").await, Ok(Some(0.0)))
        })
        .await?;
        sleep(SETTLE).await;
        churn.rounds.push(Round { open, closed: memory(&edge)? });
    }
    Ok(churn)
}

pub(super) fn print(churn: &Churn, arguments: &SocketsArguments) -> anyhow::Result<()> {
    if arguments.edge.json {
        terminal::say(&serde_json::to_string_pretty(churn)?);
        return Ok(());
    }
    let first = churn.rounds.first().map_or(0, |round| round.open);
    terminal::say(&format!(
        "edge: PSS {:.1} MiB at rest; {:.1} KiB for each of {} WebSockets",
        mib(churn.at_rest),
        mib(first.saturating_sub(churn.at_rest)) * 1024.0 / count(churn.sockets),
        churn.sockets,
    ));
    let rows: Vec<Vec<String>> = (1..)
        .zip(&churn.rounds)
        .map(|(number, round)| {
            vec![format!("{number}"), format!("{:.1}", mib(round.open)), format!("{:.1}", mib(round.closed))]
        })
        .collect();
    table::lay_out(&["round", "open, MiB", "closed, MiB"], &rows).iter().for_each(|line| terminal::say(line));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "memory of a process")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn count(number: usize) -> f64 {
    number.max(1) as f64
}
