//! Well-behaved clients, and what they notice while others attack.
//!
//! Open loop: a request is due at a fixed time, whatever became of the one before it, and its latency counts from
//! then. So a stall shows in all requests that it delays.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::client::TlsStream;

use crate::connection::{Appetite, connect_tls};
use crate::floods::door::Door;
use crate::http1;
use crate::statistics::{milliseconds, percentile};
use crate::target::source;

/// Regulars come from 127.0.10.0 and on, newcomers from 127.0.20.0 and on: far fewer requests from each address than
/// the shipped limit of 1,200 a minute.
const NET: u8 = 0;
const FIRST_REGULAR: usize = 10 * 250;
const FIRST_NEWCOMER: usize = 20 * 250;
const REGULARS: u32 = 20;
const NEWCOMER_ADDRESSES: usize = 250;
/// Between two requests of one regular: 200 a second by all.
const REGULAR_INTERVAL: Duration = Duration::from_millis(100);
/// Between two newcomers.
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(100);
/// After this time a client gives up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Small, and served by the edge itself.
const PAGE: &str = "/";

/// Clients that run until they are stopped.
pub(crate) struct Bystanders {
    regulars: Samples,
    newcomers: Samples,
    tasks: JoinSet<()>,
}

/// What the clients noticed in a while.
#[derive(Debug, Serialize)]
pub(crate) struct Notice {
    /// Requests on connections that are kept.
    pub(crate) regulars: Figures,
    /// A connection, TLS and one request each.
    pub(crate) newcomers: Figures,
}

impl Bystanders {
    /// Sends clients to the door.
    pub(crate) fn start(door: &Door) -> Self {
        let (regulars, newcomers) = (Samples::default(), Samples::default());
        let mut tasks = JoinSet::new();
        for number in 0..REGULARS {
            let from = source(NET, FIRST_REGULAR + number as usize);
            let first = Instant::now() + REGULAR_INTERVAL * number / REGULARS;
            tasks.spawn(regular(door.clone(), from, first, regulars.clone()));
        }
        tasks.spawn(welcome_newcomers(door.clone(), newcomers.clone()));
        Self { regulars, newcomers, tasks }
    }

    /// What was noticed since the last time.
    pub(crate) fn take(&self) -> Notice {
        Notice { regulars: self.regulars.take(), newcomers: self.newcomers.take() }
    }

    /// Sends the clients home.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// A client that keeps its connection.
async fn regular(door: Door, from: Ipv4Addr, first: Instant, samples: Samples) {
    let mut connection = None;
    let mut due = first;
    loop {
        sleep_until(due).await;
        let answered = timeout(PATIENCE, ask(&mut connection, &door, from)).await;
        if !matches!(answered, Ok(Ok(()))) {
            connection = None;
        }
        samples.add(due, answered);
        due += REGULAR_INTERVAL;
    }
}

/// Clients that come for the first time and leave after one request.
async fn welcome_newcomers(door: Door, samples: Samples) {
    let mut visits = JoinSet::new();
    let mut due = Instant::now();
    for number in 0.. {
        sleep_until(due).await;
        let from = source(NET, FIRST_NEWCOMER + number % NEWCOMER_ADDRESSES);
        let (door, samples) = (door.clone(), samples.clone());
        visits.spawn(async move { samples.add(due, timeout(PATIENCE, ask(&mut None, &door, from)).await) });
        while visits.try_join_next().is_some() {}
        due += NEWCOMER_INTERVAL;
    }
}

type Kept = Option<TlsStream<TcpStream>>;

/// Asks for the page, on the connection that was kept if it still works: as browsers do, a client that finds it closed
/// connects anew.
async fn ask(kept: &mut Kept, door: &Door, from: Ipv4Addr) -> anyhow::Result<()> {
    let authority = door.target.authority();
    if let Some(mut stream) = kept.take()
        && let Ok(answer) = http1::get(&mut stream, authority, PAGE).await
    {
        return accept(&answer, stream, kept);
    }
    let mut stream =
        connect_tls(from, &door.target, &door.http1, Appetite::Normal).await.context("no connection")?;
    let answer = http1::get(&mut stream, authority, PAGE).await.context("no answer")?;
    accept(&answer, stream, kept)
}

fn accept(answer: &http1::Answer, stream: TlsStream<TcpStream>, kept: &mut Kept) -> anyhow::Result<()> {
    *kept = answer.keeps_alive.then_some(stream);
    ensure!(answer.status == 200, "answered {}", answer.status);
    Ok(())
}

/// Shared by the clients of a kind.
#[derive(Clone, Default)]
struct Samples(Arc<Mutex<Gathered>>);

#[derive(Default)]
struct Gathered {
    /// Of answers, and of requests that were given up.
    latencies: Vec<Duration>,
    errors: BTreeMap<String, u64>,
    requests: u64,
}

impl Samples {
    fn add<E>(&self, due: Instant, answered: Result<anyhow::Result<()>, E>) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.requests += 1;
        let error = match answered {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some("given up".to_owned()),
        };
        if error.as_deref().is_none_or(|error| error == "given up") {
            gathered.latencies.push(due.elapsed());
        }
        if let Some(error) = error {
            *gathered.errors.entry(error).or_default() += 1;
        }
    }

    fn take(&self) -> Figures {
        let gathered = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let at = |percent| percentile(&gathered.latencies, percent).map(milliseconds);
        Figures {
            requests: gathered.requests,
            failed: gathered.errors.values().sum(),
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
            errors: gathered.errors,
        }
    }
}

/// What clients of a kind noticed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Of answers and of requests that were given up; quick refusals are in `errors` alone.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) max_ms: Option<f64>,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Figures {
    /// The part that was answered, in percent.
    pub(crate) fn answered_percent(&self) -> Option<f64> {
        let answered = self.requests.checked_sub(self.failed)?;
        #[expect(clippy::cast_precision_loss, reason = "counts of a minute's requests")]
        (self.requests > 0).then(|| 100.0 * answered as f64 / self.requests as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_refusal_is_an_error_and_no_latency() {
        let samples = Samples::default();
        let due = Instant::now();
        samples.add::<()>(due, Ok(Ok(())));
        samples.add::<()>(due, Ok(Err(anyhow::anyhow!("answered 503"))));
        samples.add(due, Err(()));
        let figures = samples.take();
        assert_eq!((figures.requests, figures.failed), (3, 2));
        assert_eq!(figures.errors["answered 503"], 1);
        assert_eq!(samples.take().requests, 0);
    }

    #[test]
    fn answered_is_a_share_of_all() {
        let figures = Figures { requests: 200, failed: 1, ..Figures::default() };
        assert_eq!(figures.answered_percent(), Some(99.5));
        assert_eq!(Figures::default().answered_percent(), None);
    }
}
