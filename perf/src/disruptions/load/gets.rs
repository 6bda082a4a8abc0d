//! GETs as an open loop: each is due at a fixed time, whatever became of the one before it, and its latency counts from
//! then. So a stall shows in all that it delays.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::client::{Connection, Door, NoAnswer, Protocol};
use super::record::{Failure, Record, Sample};
use crate::target::source;

/// A page of the edge's own, and what a server answers.
const PATHS: [&str; 2] = ["/", "/api/vendors"];
/// HTTP/1.1 connections that are kept and used in turn.
const KEPT: usize = 40;
/// HTTP/2 connections, each with several requests at once.
const SHARED: usize = 8;
/// At once on their way; what is due beyond fails.
const MOST_IN_FLIGHT: usize = 5_000;
/// Sources of each kind: 127.N.0.0/16.
const KEPT_NET: u8 = 10;
const SHARED_NET: u8 = 11;
const NEW_NET: u8 = 12;
const ADDRESSES: usize = 62_500;

/// Of all GETs in percent.
const KEPT_SHARE: f64 = 0.4;
const NEW_SHARE: f64 = 0.1;
/// A full handshake costs both ends.
const MOST_NEW_PER_SECOND: f64 = 100.0;

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kept,
    New,
    Shared,
}

/// So many a second of each kind.
fn rates(rate: f64) -> [(Kind, f64); 3] {
    let new = (rate * NEW_SHARE).min(MOST_NEW_PER_SECOND);
    let kept = rate * KEPT_SHARE;
    [(Kind::Kept, kept), (Kind::New, new), (Kind::Shared, rate - kept - new)]
}

/// Starts clients that ask until `tasks` ends.
pub(super) fn start(
    door: &Arc<Door>,
    rate: f64,
    patience: Duration,
    record: &Record,
    tasks: &mut JoinSet<()>,
) {
    let clients = Arc::new(Clients {
        door: Arc::clone(door),
        kept: Mutex::default(),
        at_work: Arc::default(),
        shared: std::array::from_fn(|_| Slot::default()),
        asked: AtomicUsize::new(0),
    });
    for (kind, rate) in rates(rate) {
        let interval = Duration::from_secs_f64(1.0 / rate);
        tasks.spawn(ask_in_time(Arc::clone(&clients), kind, interval, patience, record.clone()));
    }
}

async fn ask_in_time(
    clients: Arc<Clients>,
    kind: Kind,
    interval: Duration,
    patience: Duration,
    record: Record,
) {
    let mut visits = JoinSet::new();
    let mut due = Instant::now();
    loop {
        sleep_until(due).await;
        while visits.try_join_next().is_some() {}
        let id = record.begin(due);
        if visits.len() < MOST_IN_FLIGHT {
            let (clients, record) = (Arc::clone(&clients), record.clone());
            visits.spawn(async move {
                let asked = timeout(patience, clients.ask(kind)).await;
                let (again, failure) = match asked {
                    Ok(Ok(again)) => (again, None),
                    Ok(Err(failure)) => (false, Some(failure)),
                    Err(_) => (false, Some(Failure::Timeout)),
                };
                record.finish(id, Sample { due, latency: due.elapsed(), again, failure });
            });
        } else {
            let failure = Some(Failure::NotAsked);
            record.finish(id, Sample { due, latency: Duration::ZERO, again: false, failure });
        }
        due += interval;
    }
}

struct Clients {
    door: Arc<Door>,
    /// Those that nobody uses, the one that has waited longest in front.
    kept: Mutex<VecDeque<Connection>>,
    /// One holder more for each that somebody uses or opens.
    at_work: Arc<()>,
    shared: [Slot; SHARED],
    asked: AtomicUsize,
}

/// A connection that several use, and how many have been there before it.
type Slot = tokio::sync::Mutex<(u64, Option<Connection>)>;

impl Clients {
    /// Asks, and says whether it took a second time.
    async fn ask(&self, kind: Kind) -> Result<bool, Failure> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let path = PATHS[number / 2 % PATHS.len()];
        match kind {
            Kind::Kept => self.ask_on_kept(number, path).await,
            Kind::New => {
                let from = source(NEW_NET, number % ADDRESSES);
                let mut connection = self.door.connect(from, Protocol::Http1).await?;
                connection.ask(&self.door, path).await.map_err(failure)?;
                Ok(false)
            }
            Kind::Shared => self.ask_on_shared(number, path).await,
        }
    }

    async fn ask_on_kept(&self, number: usize, path: &str) -> Result<bool, Failure> {
        let mut again = false;
        let at_work = Arc::clone(&self.at_work);
        if let Some(mut connection) = self.idle() {
            match connection.ask(&self.door, path).await {
                Ok(()) => {
                    self.keep(connection);
                    return Ok(false);
                }
                Err(NoAnswer::Failed(failure)) => return Err(failure),
                Err(NoAnswer::Unheard) => again = true,
            }
        }
        let from = source(KEPT_NET, number % KEPT);
        let mut connection = self.door.connect(from, Protocol::Http1).await?;
        connection.ask(&self.door, path).await.map_err(failure)?;
        drop(at_work);
        self.keep(connection);
        Ok(again)
    }

    /// None also while there are fewer than there shall be.
    fn idle(&self) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|connection| !connection.is_closed());
        let all = kept.len() + Arc::strong_count(&self.at_work) - 1;
        if all <= KEPT { None } else { kept.pop_front() }
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT && !connection.is_closed() {
            kept.push_back(connection);
        }
    }

    async fn ask_on_shared(&self, number: usize, path: &str) -> Result<bool, Failure> {
        let slot = number % SHARED;
        let (generation, mut connection) = self.shared(slot, None).await?;
        match connection.ask(&self.door, path).await {
            Ok(()) => return Ok(false),
            Err(NoAnswer::Failed(failure)) => return Err(failure),
            Err(NoAnswer::Unheard) => {}
        }
        let (_, mut connection) = self.shared(slot, Some(generation)).await?;
        connection.ask(&self.door, path).await.map_err(failure)?;
        Ok(true)
    }

    /// The slot's connection; another one if it is closed, or still the one that is known to be of no use.
    async fn shared(&self, slot: usize, useless: Option<u64>) -> Result<(u64, Connection), Failure> {
        let mut slot_now = self.shared[slot].lock().await;
        let (generation, connection) = &mut *slot_now;
        let usable = connection.as_ref().filter(|it| !it.is_closed() && useless != Some(*generation));
        if let Some(shared) = usable.and_then(Connection::share) {
            return Ok((*generation, shared));
        }
        let new = self.door.connect(source(SHARED_NET, slot), Protocol::Http2).await?;
        let shared = new.share().expect("HTTP/2 is shared");
        *generation += 1;
        *connection = Some(new);
        Ok((*generation, shared))
    }
}

/// On a new connection there is no excuse.
fn failure(no_answer: NoAnswer) -> Failure {
    match no_answer {
        NoAnswer::Unheard => Failure::Reset("unanswered".into()),
        NoAnswer::Failed(failure) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_share_the_rate_and_new_connections_are_bounded() {
        for (rate, new) in [(600.0, 60.0), (4_000.0, 100.0)] {
            let rates = rates(rate);
            assert!((rates.iter().map(|(_, rate)| rate).sum::<f64>() - rate).abs() < 0.001);
            assert!((rates[1].1 - new).abs() < 0.001);
        }
    }
}
