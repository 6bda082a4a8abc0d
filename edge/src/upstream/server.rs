//! One server and all that is known of it. It outlives a change of the policy: whoever holds it sees the same counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::Gauge;
use serde::Serialize;

use super::Failure;
use super::conduct::Conduct;
use super::ejection::{Ejection, Trier};
use super::kept::Kept;

/// A server of an upstream.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) conduct: Conduct,
    /// Answers of health checks that came late, in a row.
    pub(super) late: AtomicU32,
    pub(super) kept: Kept,
    upstream: String,
    is_ready: AtomicBool,
    is_draining: AtomicBool,
    /// Accepts and never answers.
    is_silent: AtomicBool,
    at_work: AtomicUsize,
    websockets: AtomicUsize,
    /// Requests at work whose answer hasn't begun.
    waiting: AtomicUsize,
    /// When it last answered something, or something began to wait for it; ms.
    last_sign: AtomicU64,
    /// What [`Ejection::until`] says, in ms, so that choosing takes no lock; 0 while it takes part.
    ejected_until: AtomicU64,
    ejection: Mutex<Ejection>,
    gauges: Gauges,
}

struct Gauges {
    healthy: Gauge,
    ejected: Gauge,
    draining: Gauge,
    requests: Gauge,
    websockets: Gauge,
}

/// A server's state, as the admin port shows it.
#[derive(Debug, Serialize)]
pub struct ServerState {
    /// Where the server serves.
    pub address: SocketAddr,
    /// Whether its last health check passed.
    pub healthy: bool,
    /// Whether it gets no new requests because somebody wants it so.
    pub draining: bool,
    /// Whether it gets no requests because it failed.
    pub ejected: bool,
    /// In how many milliseconds it may be tried again; absent unless it is ejected, 0 while that is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for_ms: Option<u64>,
    /// Requests at work there, WebSockets among them.
    pub requests: usize,
    /// WebSockets that are open.
    pub websockets: usize,
    /// The upstream's name.
    pub upstream: String,
}

/// The time since this process first asked for it.
pub(super) fn now() -> Duration {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Never 0, which stands for "not ejected".
    BEGINNING.elapsed() + Duration::from_secs(1)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Server {
    pub(super) fn new(upstream: &str, address: SocketAddr) -> Self {
        let server = Self {
            address,
            conduct: Conduct::default(),
            late: AtomicU32::new(0),
            kept: Kept::default(),
            upstream: upstream.to_owned(),
            is_ready: AtomicBool::new(true),
            is_draining: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            at_work: AtomicUsize::new(0),
            websockets: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            last_sign: AtomicU64::new(0),
            ejected_until: AtomicU64::new(0),
            ejection: Mutex::default(),
            gauges: Gauges::new(upstream, address),
        };
        server.gauges.healthy.set(1.0);
        server.gauges.ejected.set(0.0);
        server.gauges.draining.set(0.0);
        server
    }

    /// Whether a request may go there, as things are: it is ready, isn't drained and isn't ejected.
    pub(super) fn is_usable(&self) -> bool {
        self.is_open() && self.ejected_until.load(Ordering::Relaxed) == 0
    }

    /// Whether it could take requests if it weren't ejected.
    pub(super) fn is_open(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed) && !self.is_draining.load(Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    /// What a health check found.
    pub(super) fn set_ready(&self, is_ready: bool, why: &str) {
        if self.is_ready.swap(is_ready, Ordering::Relaxed) == is_ready {
            return;
        }
        self.gauges.healthy.set(if is_ready { 1.0 } else { 0.0 });
        let (upstream, server) = (&self.upstream, self.address);
        if is_ready {
            let mut ejection = self.ejection();
            ejection.shorten(now());
            self.show(&ejection);
            tracing::info!(upstream, %server, "server is ready");
        } else {
            self.kept.close();
            tracing::warn!(upstream, %server, why, "server is not ready: no requests go there");
        }
    }

    pub(super) fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Relaxed);
        self.gauges.draining.set(if is_draining { 1.0 } else { 0.0 });
        if is_draining {
            self.kept.close();
        }
        tracing::info!(upstream = self.upstream, server = %self.address, is_draining, "drained by the admin port");
    }

    /// Whether it has answered nothing for so long, though requests waited for an answer.
    pub(super) fn is_suspect(&self, patience: Duration) -> bool {
        let since = Duration::from_millis(self.last_sign.load(Ordering::Relaxed));
        self.waiting.load(Ordering::Relaxed) > 0 && now().saturating_sub(since) >= patience
    }

    /// Whether what waits for its answer waits in vain.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// It has answered something.
    pub(super) fn note_sign(&self) {
        self.last_sign.store(millis(now()), Ordering::Relaxed);
        if self.is_silent() {
            self.is_silent.store(false, Ordering::Relaxed);
        }
    }

    /// It answers not even a probe.
    pub(super) fn note_silence(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Takes it out; false when it was out already.
    pub(super) fn eject(&self, why: Failure) -> bool {
        let mut ejection = self.ejection();
        let Some(until) = ejection.eject(why, now()) else { return false };
        self.show(&ejection);
        self.kept.close();
        let (upstream, server, seconds) =
            (&self.upstream, self.address, until.saturating_sub(now()).as_secs_f64());
        metrics::counter!("edge_upstream_ejections_total", "upstream" => upstream.clone(), "server" => server.to_string(), "reason" => why.name())
            .increment(1);
        tracing::warn!(upstream, %server, why = why.name(), seconds, "server is ejected");
        true
    }

    /// Whether its time is over, and nobody tries it yet; a look without a lock.
    pub(super) fn may_be_tried(&self) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && self.is_open() && until <= millis(now())
    }

    /// The one trial of a server whose time is over.
    pub(super) fn begin_trial(self: &Arc<Self>, trier: Trier) -> Option<Trial> {
        let mut ejection = self.ejection();
        if !ejection.begin_trial(trier, now()) {
            return None;
        }
        self.show(&ejection);
        Some(Trial { server: Arc::clone(self), is_over: false })
    }

    pub(super) fn state(&self) -> ServerState {
        let until = self.ejection().until();
        let left =
            |until: Duration| if until == Duration::MAX { 0 } else { millis(until.saturating_sub(now())) };
        ServerState {
            address: self.address,
            healthy: self.is_ready.load(Ordering::Relaxed),
            draining: self.is_draining(),
            ejected: until.is_some(),
            ejected_for_ms: until.map(left),
            requests: self.requests(),
            websockets: self.websockets.load(Ordering::Relaxed),
            upstream: self.upstream.clone(),
        }
    }

    fn ejection(&self) -> MutexGuard<'_, Ejection> {
        self.ejection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, ejection: &Ejection) {
        let until = ejection.until();
        self.gauges.ejected.set(if until.is_some() { 1.0 } else { 0.0 });
        self.ejected_until.store(until.map_or(0, millis), Ordering::Relaxed);
    }
}

impl Drop for Server {
    /// The policy names it no more.
    fn drop(&mut self) {
        let Gauges { healthy, ejected, draining, requests, websockets } = &self.gauges;
        for gauge in [healthy, ejected, draining, requests, websockets] {
            gauge.set(0.0);
        }
    }
}

impl Gauges {
    fn new(upstream: &str, address: SocketAddr) -> Self {
        let gauge = |name: &'static str| metrics::gauge!(name, "upstream" => upstream.to_owned(), "server" => address.to_string());
        Self {
            healthy: gauge("edge_upstream_healthy"),
            ejected: gauge("edge_upstream_ejected"),
            draining: gauge("edge_upstream_draining"),
            requests: gauge("edge_upstream_requests"),
            websockets: gauge("edge_upstream_websockets"),
        }
    }
}

/// A trial under way; dropped without a verdict, it says nothing.
pub(super) struct Trial {
    server: Arc<Server>,
    is_over: bool,
}

impl Trial {
    /// It went well.
    pub(super) fn pass(mut self) {
        self.is_over = true;
        let server = &self.server;
        let mut ejection = server.ejection();
        ejection.pass(now());
        server.conduct.forget();
        server.note_sign();
        server.show(&ejection);
        tracing::info!(upstream = server.upstream, server = %server.address, "server is back");
    }

    /// It failed.
    pub(super) fn fail(mut self) {
        self.is_over = true;
        let mut ejection = self.server.ejection();
        ejection.fail(now());
        self.server.show(&ejection);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.is_over {
            let mut ejection = self.server.ejection();
            ejection.abandon(now());
            self.server.show(&ejection);
        }
    }
}

/// A request at work on a server: counted for as long as this lives, whatever way it ends.
pub(super) struct AtWork {
    pub(super) server: Arc<Server>,
    is_waiting: bool,
    is_websocket: bool,
}

impl AtWork {
    pub(super) fn begin(server: Arc<Server>) -> Self {
        server.at_work.fetch_add(1, Ordering::Relaxed);
        server.gauges.requests.increment(1.0);
        if server.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            server.last_sign.store(millis(now()), Ordering::Relaxed);
        }
        Self { server, is_waiting: true, is_websocket: false }
    }

    /// Its answer has begun.
    pub(super) fn end_waiting(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            self.server.waiting.fetch_sub(1, Ordering::Relaxed);
            self.server.note_sign();
        }
    }

    /// It has become a WebSocket.
    pub(super) fn open_websocket(&mut self) {
        if !std::mem::replace(&mut self.is_websocket, true) {
            self.server.websockets.fetch_add(1, Ordering::Relaxed);
            self.server.gauges.websockets.increment(1.0);
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let server = &self.server;
        server.at_work.fetch_sub(1, Ordering::Relaxed);
        server.gauges.requests.decrement(1.0);
        if self.is_waiting {
            server.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        if self.is_websocket {
            server.websockets.fetch_sub(1, Ordering::Relaxed);
            server.gauges.websockets.decrement(1.0);
        }
    }
}
