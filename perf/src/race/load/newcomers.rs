//! Clients that connect, ask once and leave, one visit after the other.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::race::client::Client;
use crate::race::load::{Count, NEWCOMERS};
use crate::target::source;

/// Visitors come from 127.2.0.0/16, each from another address: no port is used twice in a minute.
const NET: u8 = 2;
const ADDRESSES: usize = 62_500;
/// How long a visit may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Visits all the time.
pub(super) async fn run(client: Client, length: Duration) -> anyhow::Result<Count> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..NEWCOMERS {
        let client = client.clone();
        tasks.spawn(async move {
            let (mut done, mut failed) = (0, 0);
            let mut address = index;
            while began.elapsed() < length {
                match visit(&client, address).await {
                    Ok(()) => done += 1,
                    Err(_) => failed += 1,
                }
                address += NEWCOMERS;
            }
            (done, failed)
        });
    }
    let mut count = Count { done: 0, failed: 0, per_second: 0.0 };
    while let Some(ended) = tasks.join_next().await {
        let (done, failed): (u64, u64) = ended?;
        count.done += done;
        count.failed += failed;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a minute's visits")]
    let done = count.done as f64;
    count.per_second = done / began.elapsed().as_secs_f64();
    Ok(count)
}

/// A connection, a request, and the end of both.
pub(super) async fn visit(client: &Client, number: usize) -> anyhow::Result<()> {
    timeout(PATIENCE, async {
        let mut connection = client.connect(address(number)).await?;
        let (status, _) = connection.ask(client).await?;
        connection.close().await;
        ensure!(status == StatusCode::OK, "answered {status}");
        Ok(())
    })
    .await?
}

fn address(number: usize) -> Ipv4Addr {
    source(NET, number % ADDRESSES)
}
