//! The disruptions themselves: each begins, and ends once the edge has taken it in.

use std::time::Duration;

use anyhow::{bail, ensure};
use http::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::disruptions::configuration::UPSTREAM;
use crate::disruptions::edge::Edge;
use crate::disruptions::figures::Expected;
use crate::disruptions::ground::{Ground, SERVERS};
use crate::disruptions::options::Disruption;

/// How long a server stays drained once nothing is at work there but WebSockets.
const DRAINED: Duration = Duration::from_secs(3);
/// Until a server that was killed is started again.
const DEAD: Duration = Duration::from_secs(2);
/// So long before a drain's end the edge begins to tell its WebSockets to go.
const GOODBYES: Duration = Duration::from_secs(4);
/// How long one does nothing: longer than a client waits.
const STOPPED: Duration = Duration::from_secs(12);
/// How much longer than its drain an edge may stay that was upgraded.
const LEAVING: Duration = Duration::from_secs(5);

/// What was done.
pub(super) enum Done {
    /// And what may happen to WebSockets meanwhile.
    Carried(Expected),
    /// It can't be, and why.
    Skipped(String),
}

/// Does it; servers take their turns by `run`.
pub(super) async fn carry_out(
    disruption: Disruption,
    run: usize,
    drain: Duration,
    ground: &mut Ground,
    edge: &mut Edge,
) -> anyhow::Result<Done> {
    let server = run % SERVERS;
    let expected = match disruption {
        Disruption::Reload => {
            edge.reload().await?;
            Expected::default()
        }
        Disruption::Certificate => {
            renew_certificate(ground, edge).await?;
            Expected::default()
        }
        Disruption::Upgrade => upgrade(edge, drain).await?,
        Disruption::Drain => return drain_server(ground.servers[server].api, edge).await,
        Disruption::Kill => {
            let port = ground.servers[server].api;
            ground.servers[server].kill()?;
            sleep(DEAD).await;
            let until = Instant::now();
            ground.servers[server].start_again()?;
            edge.wait_until_usable(port).await?;
            Expected { told_from: None, dead: Some((server, until)) }
        }
        Disruption::Hang => {
            ground.servers[server].stop();
            sleep(STOPPED).await;
            ground.servers[server].go_on();
            edge.wait_until_usable(ground.servers[server].api).await?;
            Expected::default()
        }
    };
    Ok(Done::Carried(expected))
}

async fn renew_certificate(ground: &Ground, edge: &mut Edge) -> anyhow::Result<()> {
    let certificate = ground.renew_certificate()?;
    edge.wait_until("the new certificate is shown", async |edge| {
        edge.door.certificate().await.is_ok_and(|shown| shown == certificate)
    })
    .await
}

/// Ends with the old edge.
async fn upgrade(edge: &mut Edge, drain: Duration) -> anyhow::Result<Expected> {
    let began = Instant::now();
    let mut old = edge.upgrade().await?;
    let served = Instant::now();
    while old.runs() {
        ensure!(served.elapsed() < drain + LEAVING, "the old edge is still there");
        edge.check_runs()?;
        sleep(Duration::from_millis(50)).await;
    }
    // Its drain began between these two, and sockets are told a second before its end.
    let told_from = began + drain.saturating_sub(GOODBYES);
    Ok(Expected { told_from: Some(told_from), dead: None })
}

async fn drain_server(port: u16, edge: &mut Edge) -> anyhow::Result<Done> {
    let order = json!({"upstream": UPSTREAM, "server": format!("127.0.0.1:{port}")});
    match edge.admin.order("/upstreams/drain", &order).await? {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(Done::Skipped("this edge can't drain a server".into())),
        status => bail!("the admin port answers {status} to a drain"),
    }
    edge.wait_until("only WebSockets are left on the drained server", async |edge| {
        let Ok(state) = edge.admin.server(port).await else { return false };
        state["draining"] == true && state["requests"] == state["websockets"]
    })
    .await?;
    sleep(DRAINED).await;
    let status = edge.admin.order("/upstreams/undrain", &order).await?;
    ensure!(status == StatusCode::OK, "the admin port answers {status} to the end of a drain");
    edge.wait_until_usable(port).await?;
    Ok(Done::Carried(Expected::default()))
}
