//! Active checks: each server's management address says whether it is ready for requests. A server that answers no
//! request, and one that is out because it couldn't be talked to, are asked where requests go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ejection::Trier;
use super::pool::{CurrentPools, Member, Pool};
use super::server::{Server, now};
use super::{Failure, Probe, ProbeError};

/// A busy server may answer late now and then; taking it out would only make the others busier.
const LATE_ANSWERS: u32 = 3;
/// Requests that wait for so long, while nothing at all is answered, are reason to ask whether anything will be.
const SUSPICIOUS: Duration = Duration::from_secs(1);
/// How often servers are looked at; checks come at their own intervals.
const LOOK: Duration = Duration::from_millis(50);

/// Checks the servers of the pools that are in force.
pub struct Checker {
    pools: Arc<CurrentPools>,
    probe: Arc<Probe>,
}

/// What is under way for a server.
struct Watched {
    server: Arc<Server>,
    next_check: Instant,
    is_checked: bool,
    is_probed: bool,
}

/// A check that has ended, of the server at this place among the watched.
enum Ended {
    Check(Arc<Server>),
    Probe(Arc<Server>),
}

impl Checker {
    /// A checker of these pools.
    pub fn new(pools: Arc<CurrentPools>, probe: Arc<Probe>) -> Self {
        Self { pools, probe }
    }

    /// Checks until it is told to stop. Each server's checks follow one another; those of several run side by side.
    pub async fn run(&self, mut shutdown: ShutdownWatch) {
        let mut watched: Vec<Watched> = Vec::new();
        let mut under_way = JoinSet::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Some(ended) = under_way.join_next() => {
                    if let Ok(ended) = ended {
                        note_end(&mut watched, &ended);
                    }
                    continue;
                }
                _ = shutdown.changed() => return,
            }
            let pools = self.pools.load();
            watched.retain(|entry| is_member(&pools, &entry.server));
            for index in 0..pools.len() {
                for member in pools[index].members() {
                    self.look(&pools, index, member, &mut watched, &mut under_way);
                }
            }
        }
    }

    fn look(
        &self,
        pools: &Arc<[Pool]>,
        index: usize,
        member: &Member,
        watched: &mut Vec<Watched>,
        under_way: &mut JoinSet<Ended>,
    ) {
        let server = &member.server;
        server.kept.close_idle(now());
        let place = watched.iter().position(|entry| Arc::ptr_eq(&entry.server, server));
        let place = place.unwrap_or_else(|| {
            watched.push(Watched::new(server));
            watched.len() - 1
        });
        let entry = &mut watched[place];
        let upstream = pools[index].upstream();
        if !entry.is_checked && Instant::now() >= entry.next_check {
            entry.is_checked = true;
            entry.next_check = Instant::now() + upstream.health_interval;
            let (server, probe) = (Arc::clone(server), Arc::clone(&self.probe));
            let (management, path) = (member.management, upstream.health_path.clone());
            under_way.spawn(async move {
                check(&server, &probe, management, &path).await;
                Ended::Check(server)
            });
        }
        let is_due = server.may_be_tried() || (!server.is_silent() && server.is_suspect(SUSPICIOUS));
        if !entry.is_probed && is_due {
            entry.is_probed = true;
            let (server, probe, pools) = (Arc::clone(server), Arc::clone(&self.probe), Arc::clone(pools));
            under_way.spawn(async move {
                try_or_suspect(&pools[index], &server, &probe).await;
                Ended::Probe(server)
            });
        }
    }
}

#[async_trait]
impl BackgroundService for Checker {
    async fn start(&self, shutdown: ShutdownWatch) {
        self.run(shutdown).await;
    }
}

impl Watched {
    fn new(server: &Arc<Server>) -> Self {
        Self { server: Arc::clone(server), next_check: Instant::now(), is_checked: false, is_probed: false }
    }
}

fn is_member(pools: &[Pool], server: &Arc<Server>) -> bool {
    pools.iter().flat_map(Pool::servers).any(|member| Arc::ptr_eq(member, server))
}

fn note_end(watched: &mut [Watched], ended: &Ended) {
    let (Ended::Check(server) | Ended::Probe(server)) = ended;
    if let Some(entry) = watched.iter_mut().find(|entry| Arc::ptr_eq(&entry.server, server)) {
        match ended {
            Ended::Check(_) => entry.is_checked = false,
            Ended::Probe(_) => entry.is_probed = false,
        }
    }
}

/// One answer decides, in both directions (a stopping backend says so itself), and so does a connection that fails;
/// answers that come too late must be several in a row.
async fn check(server: &Server, probe: &Probe, management: SocketAddr, path: &str) {
    let answer = probe.get(management, path).await;
    if matches!(answer, Err(ProbeError::Timeout(_))) {
        if server.late.fetch_add(1, Ordering::Relaxed) + 1 < LATE_ANSWERS {
            return;
        }
    } else {
        server.late.store(0, Ordering::Relaxed);
    }
    match answer {
        Ok(_) => server.set_ready(true, ""),
        Err(error) => server.set_ready(false, &error.to_string()),
    }
}

/// Asks a server where requests go. Any answer is a good one, also that there is no such page: somebody listens.
async fn try_or_suspect(pool: &Pool, server: &Arc<Server>, probe: &Probe) {
    let trial = server.may_be_tried().then(|| server.begin_trial(Trier::Probe)).flatten();
    if trial.is_none() && !server.is_suspect(SUSPICIOUS) {
        // Requests try it.
        return;
    }
    let answer = probe.get(server.address, &pool.upstream().health_path).await;
    let is_talking = matches!(answer, Ok(_) | Err(ProbeError::Status(_)));
    match trial {
        Some(trial) if is_talking => trial.pass(),
        Some(trial) => trial.fail(),
        None if is_talking => server.note_sign(),
        None => {
            let is_silent = matches!(answer, Err(ProbeError::Timeout(_)));
            let why = if is_silent { Failure::Silent } else { Failure::Refused };
            // It may be out already; what waits for it needs to know all the same, if it has somewhere else to go.
            pool.eject(server, why);
            if is_silent && !server.is_usable() {
                server.note_silence();
            }
        }
    }
}
