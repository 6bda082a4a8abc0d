//! The servers of one upstream: which takes the next request.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use metrics::Counter;

use super::Failure;
use super::conduct::Evidence;
use super::exchange::Tried;
use super::retry_budget::RetryBudget;
use super::server::{Server, ServerState, now};
use crate::client_ip::network_key;
use crate::config::{Balance, Upstream};

/// One upstream at work.
pub struct Pool {
    upstream: Upstream,
    members: Box<[Member]>,
    turn: AtomicUsize,
    shared: Arc<Shared>,
}

/// A server, and where this policy says that it is asked for its health.
pub(super) struct Member {
    pub(super) server: Arc<Server>,
    pub(super) management: SocketAddr,
}

/// What a pool takes over from the one before it, beside its servers.
pub(super) struct Shared {
    budget: RetryBudget,
    retries: Retries,
    /// Held while a server is taken out, so that two don't leave at once, each counting on the other.
    leaving: Mutex<()>,
    /// Keyed, so that nobody can choose addresses whose hashes fall together or apart.
    hasher: RandomState,
}

/// Requests that met a failing server, by what came of it.
pub(super) struct Retries {
    pub(super) answered: Counter,
    pub(super) failed: Counter,
    pub(super) refused: Counter,
}

/// Why a server isn't drained.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// The upstream has no such server.
    #[error("the upstream has no server at this address")]
    NoSuchServer,
    /// Nobody would be left.
    #[error("no other server could take its requests; `force` drains it all the same")]
    LastServer,
}

/// The pools of the policy that is in force. A reload puts others in their place, and background work goes on with those.
pub struct CurrentPools(ArcSwap<Arc<[Pool]>>);

impl CurrentPools {
    /// Begins with these.
    pub fn new(pools: Arc<[Pool]>) -> Self {
        Self(ArcSwap::from_pointee(pools))
    }

    /// Those in force.
    pub fn load(&self) -> Arc<[Pool]> {
        Arc::clone(&self.0.load())
    }

    /// Puts others in their place; made by [`Pool::all`] of these, they know the same servers.
    pub fn store(&self, pools: Arc<[Pool]>) {
        self.0.store(Arc::new(pools));
    }
}

impl Pool {
    /// A pool for each upstream of a policy. Servers that are in `previous` already, in an upstream of the same name, keep
    /// all that is known of them: health, ejection, drain, counts.
    pub fn all(upstreams: &[Upstream], previous: &[Self]) -> Arc<[Self]> {
        upstreams
            .iter()
            .map(|upstream| {
                let before = previous.iter().find(|pool| pool.upstream.name == upstream.name);
                Self::new(upstream.clone(), before)
            })
            .collect()
    }

    fn new(upstream: Upstream, previous: Option<&Self>) -> Self {
        let known = |address: SocketAddr| previous?.servers().find(|server| server.address == address);
        let mut members: Vec<Member> = Vec::with_capacity(upstream.servers.len());
        for entry in &upstream.servers {
            if members.iter().all(|member| member.server.address != entry.address) {
                let fresh = || Arc::new(Server::new(&upstream.name, entry.address));
                let server = known(entry.address).map_or_else(fresh, Arc::clone);
                members.push(Member { server, management: entry.management });
            }
        }
        let shared =
            previous.map_or_else(|| Arc::new(Shared::new(&upstream.name)), |p| Arc::clone(&p.shared));
        Self { upstream, members: members.into(), turn: AtomicUsize::new(0), shared }
    }

    /// The upstream that the pool serves.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Every server's state, in the policy's order.
    pub fn states(&self) -> impl Iterator<Item = ServerState> {
        self.servers().map(|server| server.state())
    }

    /// No new requests go to a server from now on; those at work and open WebSockets go on. Without `force`, only if
    /// another one can take what comes.
    pub fn drain(&self, address: SocketAddr, force: bool) -> Result<(), DrainError> {
        let server = self.server(address).ok_or(DrainError::NoSuchServer)?;
        let _leaving = self.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if !force && !self.servers().any(|other| other.address != address && other.is_open()) {
            return Err(DrainError::LastServer);
        }
        server.set_draining(true);
        Ok(())
    }

    /// Requests go there again.
    pub fn undrain(&self, address: SocketAddr) -> Result<(), DrainError> {
        self.server(address).map(|server| server.set_draining(false)).ok_or(DrainError::NoSuchServer)
    }

    /// The server for the next try: one that is usable and wasn't tried; if there is none, one that is only ejected,
    /// for when all fail, all are tried. A further try of a request takes no turn: else a failing server would come up
    /// for each next request.
    pub(super) fn select(&self, tried: &Tried) -> Option<Arc<Server>> {
        let turn = match tried.is_empty() {
            true => self.turn.fetch_add(1, Ordering::Relaxed),
            false => self.turn.load(Ordering::Relaxed),
        };
        self.pick(turn, |server| server.is_usable() && !tried.contains(server.address))
            .or_else(|| self.pick(turn, |server| server.is_open() && !tried.contains(server.address)))
            .cloned()
    }

    fn pick(&self, turn: usize, may_take: impl Fn(&Server) -> bool) -> Option<&Arc<Server>> {
        let candidates = || self.servers().filter(|server| may_take(server));
        let count = candidates().count();
        if count == 0 {
            return None;
        }
        match self.upstream.balance {
            // The number may just have changed: then any will do.
            Balance::RoundRobin => candidates().nth(turn % count).or_else(|| candidates().next()),
            Balance::LeastConnections => {
                let first = turn % count;
                let in_turn = candidates().skip(first).chain(candidates().take(first));
                in_turn.min_by_key(|server| server.requests())
            }
        }
    }

    /// Whether a usable server is left beside those.
    pub(super) fn has_other(&self, tried: &Tried) -> bool {
        self.servers().any(|server| server.is_usable() && !tried.contains(server.address))
    }

    /// The same, ejected ones included.
    pub(super) fn has_any_other(&self, tried: &Tried) -> bool {
        self.servers().any(|server| server.is_open() && !tried.contains(server.address))
    }

    /// Holds a failure against a server, and ejects it when it is enough.
    pub(super) fn judge(&self, server: &Arc<Server>, failure: Failure, evidence: Evidence) {
        let others = self.servers().filter(|other| !Arc::ptr_eq(other, server) && other.is_usable());
        let is_unfit = server.conduct.note_failure(evidence, others.map(|other| &other.conduct), now());
        if is_unfit || failure == Failure::Refused {
            self.eject(server, failure);
        }
    }

    /// Takes a server out, but never the last one.
    pub(super) fn eject(&self, server: &Arc<Server>, why: Failure) -> bool {
        let _leaving = self.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        self.servers().any(|other| !Arc::ptr_eq(other, server) && other.is_usable()) && server.eject(why)
    }

    /// What stands for a client where it is counted: IPv6 ones by /64.
    pub(super) fn hash_of(&self, client: Option<IpAddr>) -> u64 {
        self.shared.hasher.hash_one(client.map(network_key))
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.members.iter().map(|member| &member.server)
    }

    pub(super) fn budget(&self) -> &RetryBudget {
        &self.shared.budget
    }

    pub(super) fn retries(&self) -> &Retries {
        &self.shared.retries
    }

    fn server(&self, address: SocketAddr) -> Option<&Arc<Server>> {
        self.servers().find(|server| server.address == address)
    }
}

impl Shared {
    fn new(upstream: &str) -> Self {
        let counter = |result: &'static str| metrics::counter!("edge_retries_total", "upstream" => upstream.to_owned(), "result" => result);
        let retries =
            Retries { answered: counter("answered"), failed: counter("failed"), refused: counter("refused") };
        Self {
            budget: RetryBudget::default(),
            retries,
            leaving: Mutex::default(),
            hasher: RandomState::new(),
        }
    }
}
