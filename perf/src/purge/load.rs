//! Requests as an open loop: each is due at a fixed time, whatever became of the one before it, and its latency counts
//! from then. So a stall shows in all that it delays.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::people::People;
use crate::api::{Ask, Connection, Service};
use crate::statistics::{milliseconds, percentile};
use crate::timer::Timer;
use crate::user::User;

/// At once on their way; what is due beyond fails.
const MOST_IN_FLIGHT: usize = 2_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A list out of the database.
    Vendors,
    /// A page out of Redis.
    Vendor,
    /// A token, and a row.
    Me,
    /// A token, and Redis.
    Notifications,
    /// A session in Redis, written.
    Refresh,
}

/// Of ten requests.
const MIX: [Kind; 10] = [
    Kind::Vendors,
    Kind::Me,
    Kind::Notifications,
    Kind::Vendor,
    Kind::Vendors,
    Kind::Refresh,
    Kind::Me,
    Kind::Notifications,
    Kind::Vendors,
    Kind::Vendor,
];

/// What those who asked noticed.
#[derive(Debug, Serialize)]
pub(super) struct Pace {
    pub(super) answered: usize,
    pub(super) failed: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    /// The p99 of those that Redis answers alone: notifications and refreshes.
    pub(super) redis_p99_ms: f64,
    /// What first went wrong.
    pub(super) error: Option<String>,
}

/// What they noticed, one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    latencies: Vec<(Kind, Duration)>,
    failed: u64,
    error: Option<String>,
}

impl Record {
    pub(super) fn add(&mut self, other: &Self) {
        self.latencies.extend(&other.latencies);
        self.failed += other.failed;
        self.error = self.error.take().or_else(|| other.error.clone());
    }

    pub(super) fn sum_up(&self) -> anyhow::Result<Pace> {
        let of = |kinds: &[Kind]| {
            let those = self.latencies.iter().filter(|(kind, _)| kinds.contains(kind));
            those.map(|(_, latency)| *latency).collect::<Vec<_>>()
        };
        let (all, redis) = (of(&MIX), of(&[Kind::Notifications, Kind::Refresh]));
        let at = |all: &[Duration], percent| {
            percentile(all, percent).map(milliseconds).context("nothing was answered")
        };
        Ok(Pace {
            answered: all.len(),
            failed: self.failed,
            p50_ms: at(&all, 50)?,
            p99_ms: at(&all, 99)?,
            max_ms: at(&all, 100)?,
            redis_p99_ms: at(&redis, 99)?,
            error: self.error.clone(),
        })
    }
}

/// Goes on until it is stopped.
pub(super) struct Load {
    record: Arc<Mutex<Record>>,
    stop: CancellationToken,
    asking: JoinSet<anyhow::Result<()>>,
}

struct Clients {
    service: Service,
    /// Those that nobody uses.
    idle: Mutex<Vec<Connection>>,
    vendor: String,
    users: Vec<(String, tokio::sync::Mutex<User>)>,
}

impl Load {
    /// Begins to ask, so many times a second.
    pub(super) fn start(people: &People, rate: u32) -> Self {
        let users = people.users.iter().map(|user| (user.access_token.clone(), user.clone().into()));
        let clients = Arc::new(Clients {
            service: people.service.clone(),
            idle: Mutex::default(),
            vendor: people.vendor.clone(),
            users: users.collect(),
        });
        let (record, stop) = (Arc::default(), CancellationToken::new());
        let mut asking = JoinSet::new();
        asking.spawn(ask_in_time(clients, Duration::from_secs(1) / rate, Arc::clone(&record), stop.clone()));
        Self { record, stop, asking }
    }

    /// What was noticed since it began, or since this was last asked.
    pub(super) fn take(&self) -> Record {
        std::mem::take(&mut *lock(&self.record))
    }

    /// Waits for what is on its way.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.asking.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn ask_in_time(
    clients: Arc<Clients>,
    interval: Duration,
    record: Arc<Mutex<Record>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let timer = Timer::new()?;
    let mut requests = JoinSet::new();
    let mut due = Instant::now();
    for number in 0_usize.. {
        timer.sleep_until(due).await?;
        if stop.is_cancelled() {
            break;
        }
        while requests.try_join_next().is_some() {}
        let (clients, record) = (Arc::clone(&clients), Arc::clone(&record));
        let has_room = requests.len() < MOST_IN_FLIGHT;
        requests.spawn(async move {
            let kind = MIX[number % MIX.len()];
            let asked =
                if has_room { clients.ask(kind, number).await } else { Err(anyhow::anyhow!("not asked")) };
            let mut record = lock(&record);
            match asked {
                Ok(()) => record.latencies.push((kind, due.elapsed())),
                Err(error) => {
                    record.failed += 1;
                    record.error.get_or_insert_with(|| format!("{error:#}"));
                }
            }
        });
        due += interval;
    }
    requests.join_all().await;
    Ok(())
}

impl Clients {
    async fn ask(&self, kind: Kind, number: usize) -> anyhow::Result<()> {
        let (token, user) = &self.users[number / MIX.len() % self.users.len()];
        let ask = match kind {
            Kind::Vendors => Ask::get("/api/vendors?limit=20"),
            Kind::Vendor => Ask::get(&format!("/api/vendors/{}", self.vendor)),
            Kind::Me => Ask::get("/api/me").of(token),
            Kind::Notifications => Ask::get("/api/notifications").of(token),
            Kind::Refresh => {
                let mut user = user.lock().await;
                let refresh = json!({"refresh_token": user.refresh_token});
                *user = User::parse(&self.send(&Ask::post("/api/auth/refresh", refresh)).await?)?;
                return Ok(());
            }
        };
        self.send(&ask).await.map(drop)
    }

    async fn send(&self, ask: &Ask) -> anyhow::Result<serde_json::Value> {
        let idle = lock(&self.idle).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.service.connect().await?,
        };
        let answer = connection.ask(ask).await?;
        ensure!(!answer.is_null(), "{} answered no JSON", ask.path);
        lock(&self.idle).push(connection);
        Ok(answer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
