//! A fixed rate, as an open loop: each request is due at a fixed time, whatever became of the one before it, and its
//! latency counts from then. So a stall shows in all requests that it delays (no coordinated omission).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::race::client::{Client, Connection};
use crate::race::load::newcomers::visit;

use crate::race::load::{CONNECTIONS, H2_CONNECTIONS, H2_STREAMS, NEWCOMERS, Pace};
use crate::race::options::Scenario;
use crate::statistics::{milliseconds, percentile};
use crate::timer::Timer;

/// After this time a request is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until all who shall take part have begun to wait.
const RUN_UP: Duration = Duration::from_millis(100);
/// Who is behind by as much at the end asks no more: all that was due meanwhile has failed.
const LATEST: Duration = Duration::from_secs(2);
/// More visitors than at full load, as each may be late.
const VISITORS: usize = 4 * NEWCOMERS;

/// Asks at that rate, spread evenly over the scenario's clients.
pub(super) async fn run(
    client: &Client,
    scenario: Scenario,
    rate: f64,
    length: Duration,
) -> anyhow::Result<Pace> {
    ensure!(rate.is_finite() && rate > 0.0, "no rate");
    let connections = connect(client, scenario).await?;
    let number = u32::try_from(connections.len())?;
    let plan = Plan {
        start: Instant::now() + RUN_UP,
        length,
        interval: Duration::from_secs_f64(f64::from(number) / rate),
    };
    let mut tasks = JoinSet::new();
    for (index, connection) in (0..number).zip(connections) {
        let first = plan.start + plan.interval * index / number;
        let visits = usize::try_from(index)?;
        tasks.spawn(ask_in_time(client.clone(), connection, plan, first, visits));
    }
    let mut all = Gathered::default();
    while let Some(gathered) = tasks.join_next().await {
        all.add(gathered??);
    }
    Ok(all.sum_up(rate))
}

#[derive(Clone, Copy)]
struct Plan {
    start: Instant,
    length: Duration,
    /// Between two requests of one client.
    interval: Duration,
}

/// What each client begins with: a connection of its own, a share of one, or nothing.
async fn connect(client: &Client, scenario: Scenario) -> anyhow::Result<Vec<Option<Connection>>> {
    let mut all = Vec::new();
    let connect = || async { client.connect(Ipv4Addr::LOCALHOST).await.context("no connection") };
    match scenario {
        Scenario::New => all.extend((0..VISITORS).map(|_| None)),
        Scenario::H1 => {
            for _ in 0..CONNECTIONS {
                all.push(Some(connect().await?));
            }
        }
        Scenario::H2 => {
            // Neighbours in time are on different connections.
            let mut first = Vec::new();
            for _ in 0..H2_CONNECTIONS {
                first.push(connect().await?);
            }
            for _ in 1..H2_STREAMS {
                all.extend(first.iter().map(Connection::share));
            }
            all.extend(first.into_iter().map(Some));
        }
    }
    Ok(all)
}

async fn ask_in_time(
    client: Client,
    connection: Option<Connection>,
    plan: Plan,
    first: Instant,
    mut visits: usize,
) -> anyhow::Result<Gathered> {
    let timer = Timer::new()?;
    let mut gathered = Gathered::default();
    let keeps = connection.is_some();
    let mut kept = connection;
    let mut due = first;
    while due < plan.start + plan.length {
        if plan.start.elapsed() > plan.length + LATEST {
            gathered.miss("not asked: too late already");
        } else {
            timer.sleep_until(due).await?;
            let asked = async {
                if keeps {
                    return ask(&mut kept, &client).await;
                }
                visits += VISITORS;
                visit(&client, visits).await
            };
            match timeout(PATIENCE, asked).await {
                Ok(Ok(())) => gathered.latencies.push(due.elapsed()),
                Ok(Err(error)) => gathered.miss(&format!("{error:#}")),
                Err(_) => gathered.miss("given up"),
            }
        }
        due += plan.interval;
    }
    Ok(gathered)
}

/// Asks on the connection that was kept; as browsers do, a client that finds it closed connects anew.
async fn ask(kept: &mut Option<Connection>, client: &Client) -> anyhow::Result<()> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => client.connect(Ipv4Addr::LOCALHOST).await.context("no connection")?,
    };
    if !connection.is_open().await {
        connection = client.connect(Ipv4Addr::LOCALHOST).await.context("no connection")?;
    }
    let (status, _) = connection.ask(client).await?;
    *kept = Some(connection);
    ensure!(status == StatusCode::OK, "answered {status}");
    Ok(())
}

/// What a client noticed.
#[derive(Default)]
struct Gathered {
    latencies: Vec<Duration>,
    failed: u64,
    error: Option<Arc<str>>,
}

impl Gathered {
    fn miss(&mut self, error: &str) {
        self.failed += 1;
        self.error.get_or_insert_with(|| error.into());
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failed += other.failed;
        self.error = self.error.take().or(other.error);
    }

    fn sum_up(&self, rate: f64) -> Pace {
        let at = |percent| percentile(&self.latencies, percent).map(milliseconds);
        Pace {
            rate,
            due: self.latencies.len() as u64 + self.failed,
            failed: self.failed,
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
            error: self.error.as_deref().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_noticed_adds_up() {
        let mut all = Gathered::default();
        for number in 1..=3_u64 {
            let latencies = vec![Duration::from_millis(number)];
            all.add(Gathered { latencies, failed: 1, error: Some(format!("error {number}").into()) });
        }
        let pace = all.sum_up(10.0);
        assert_eq!((pace.due, pace.failed), (6, 3));
        assert_eq!((pace.p50_ms, pace.max_ms), (Some(2.0), Some(3.0)));
        assert_eq!(pace.error.as_deref(), Some("error 1"));
    }
}
