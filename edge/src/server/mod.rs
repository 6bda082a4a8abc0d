//! Puts the edge together and runs it: sockets, background work, reload, handover, the end.
//!
//! ```text
//! run ─ open ─ serve ─┬─ SIGHUP: reload (reload.rs)
//!                     ├─ a successor serves: drain, leave (handover.rs)
//!                     └─ SIGTERM, SIGINT: drain, leave
//! ```
//!
//! Two runtimes: clients have one thread a core; what looks after the edge (checks, keys, certificates, the admin port)
//! has its own, so that it is heard however many clients there are.

mod background;
mod handover;
mod listeners;
mod reload;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use access_token::Revocations;
use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::background::Background;
use self::handover::{Offer, Successor};
use self::listeners::{Listeners, accept};
use crate::acme::Acme;
use crate::admin::Admin;
use crate::compression::Encoders;
use crate::config::{self, Policy};
use crate::door::{Door, FrontDoor};
use crate::drain::{Drain, Phase};
use crate::files::Files;
use crate::gateway::Gateway;
use crate::guards::KeyStore;
use crate::redirect::RedirectToHttps;
use crate::site::{Shared, Site, Sites};
use crate::tls::Tls;
use crate::upstream::{CurrentPools, Probe};
use crate::{access_log, metrics};

/// A backend that doesn't say within this time that it is ready, isn't.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// A successor that has no keys by then serves without.
const KEYS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection that waits for a request stays open once the end has begun: whoever is in use hears of the end
/// with an answer meanwhile. When nobody comes after us, new connections are refused anyway.
const LINGER: Duration = Duration::from_secs(2);
const SHORT_LINGER: Duration = Duration::from_millis(300);
/// So long before the end WebSockets are told to go: one after the other, and each may answer.
const GOODBYES: Duration = Duration::from_secs(4);

/// A running edge.
struct Edge {
    file: PathBuf,
    policy: Arc<Policy>,
    sites: Arc<Sites>,
    pools: Arc<CurrentPools>,
    shared: Shared,
    probe: Arc<Probe>,
    acme: Option<Arc<Acme>>,
    tls: Arc<Tls>,
    door: Arc<Door>,
    drain: Arc<Drain>,
    redirect: Arc<RedirectToHttps>,
    prometheus: PrometheusHandle,
}

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was told to.
    Stopped,
    /// Another has taken over.
    Succeeded,
}

/// Runs the edge of this configuration until it is told to stop, or until another has taken over. With `takes_over` its
/// sockets are those of the edge that runs already.
pub fn run(file: &Path, takes_over: bool) -> anyhow::Result<()> {
    let policy = Arc::new(config::load(file)?);
    let clients = runtime("clients", std::thread::available_parallelism().map_or(2, std::num::NonZero::get))?;
    let upkeep = runtime("upkeep", 1)?;
    let log = access_log::open().context("no thread for the access log")?;
    let ended = upkeep.block_on(async {
        // Binding asks for a runtime; what it fails with is told before anything else begins.
        let (successor, listeners) = match takes_over {
            true => {
                let (successor, listeners) = Successor::take_over(&policy.upgrade.socket)?;
                anyhow::ensure!(
                    listeners.are_at(&policy.listen),
                    "the running edge listens elsewhere than `listen` says: that takes a restart"
                );
                (Some(successor), listeners)
            }
            false => (None, Listeners::bind(&policy.listen)?),
        };
        Edge::open(file, policy)?.serve(clients.handle(), listeners, successor).await
    });
    clients.shutdown_background();
    upkeep.shutdown_background();
    log.finish();
    ended
}

fn runtime(name: &str, threads: usize) -> anyhow::Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build();
    runtime.context("no runtime")
}

impl Edge {
    fn open(file: &Path, policy: Arc<Policy>) -> anyhow::Result<Self> {
        let acme = policy.acme.clone().map(Acme::new).transpose()?.map(Arc::new);
        let prometheus = metrics::install()?;
        let tls = Tls::open(&policy, acme.clone())?;
        let drain = Arc::new(Drain::default());
        let shared =
            Shared { keys: Arc::new(KeyStore::default()), revocations: Arc::new(Revocations::default()) };
        let probe = Arc::new(Probe::new(PROBE_TIMEOUT));
        let site = Site::new(Arc::clone(&policy), &shared, None);
        let pools = Arc::new(CurrentPools::new(Arc::clone(&site.pools)));
        let port = policy.listen.https.port();
        Ok(Self {
            file: file.to_owned(),
            sites: Sites::new(site),
            pools,
            shared,
            probe,
            door: Door::new(&policy, Arc::clone(&drain)),
            redirect: Arc::new(RedirectToHttps::new(policy.hosts.clone(), port, acme.clone())),
            acme,
            tls,
            drain,
            prometheus,
            policy,
        })
    }

    async fn serve(
        self,
        clients: &Handle,
        listeners: Listeners,
        successor: Option<Successor>,
    ) -> anyhow::Result<()> {
        let _background = Background::start(&self);
        if successor.is_some() {
            // Not to turn away whoever comes with a token.
            let _ = timeout(KEYS_PATIENCE, self.shared.keys.wait_until_read()).await;
        }
        let accepting = self.accept(clients, listeners.try_clone()?);
        if let Some(successor) = successor {
            successor.serves().context("the old edge is gone before it was told to go")?;
        }
        tracing::info!(pid = std::process::id(), "the edge serves");
        let end = self.until_end(listeners).await?;
        for listener in &accepting[..if end == End::Succeeded { 3 } else { 2 }] {
            listener.abort();
        }
        self.leave(end).await;
        Ok(())
    }

    /// HTTPS, HTTP, admin.
    fn accept(&self, clients: &Handle, listeners: Listeners) -> [JoinHandle<std::io::Result<()>>; 3] {
        let Listeners { https, http, admin } = listeners;
        // Both count what the whole process uses, whatever the policy.
        let encoders = Arc::<Encoders>::default();
        let files = Arc::new(Files::new(Arc::clone(&encoders)));
        let gateway = Arc::new(Gateway::new(Arc::clone(&self.sites), files, encoders));
        let secured = FrontDoor::secured(Arc::clone(&self.door), self.tls.server_configs(), gateway);
        let plain = FrontDoor::plain(Arc::clone(&self.door), Arc::clone(&self.redirect));
        // Places and a life of its own: it answers in a full house, and to the end.
        let own_door = Door::of_admin(&self.policy);
        let app = Admin::new(self.prometheus.clone(), Arc::clone(&self.pools), Arc::clone(&self.drain));
        let for_admin = FrontDoor::plain(own_door, Arc::new(app));
        [
            clients.spawn(accept(https, move |socket, peer| secured.take_in(socket, peer))),
            clients.spawn(accept(http, move |socket, peer| plain.take_in(socket, peer))),
            tokio::spawn(accept(admin, move |socket, peer| for_admin.take_in(socket, peer))),
        ]
    }

    /// Reloads whenever it is told to.
    async fn until_end(&self, listeners: Listeners) -> anyhow::Result<End> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let offer = match Offer::open(&self.policy.upgrade.socket, listeners) {
            Ok(offer) => Some(offer),
            Err(error) => {
                let socket = self.policy.upgrade.socket.display();
                tracing::warn!(%socket, %error, "no successor can take over: an upgrade takes a restart");
                None
            }
        };
        let has_successor = {
            // Kept between two turns: a successor may be about to say that it serves.
            let mut taken = pin!(succeeded(offer.as_ref()));
            loop {
                tokio::select! {
                    _ = hangup.recv() => self.reload(),
                    () = &mut taken => break true,
                    _ = terminate.recv() => break false,
                    _ = interrupt.recv() => break false,
                }
            }
        };
        if has_successor {
            tracing::info!("another edge serves: this one drains and leaves");
            return Ok(End::Succeeded);
        }
        if let Some(offer) = offer {
            offer.withdraw();
        }
        tracing::info!("the edge stops");
        Ok(End::Stopped)
    }

    /// Lets what is in flight end, for as long as the policy gives it, and returns as soon as nothing is.
    async fn leave(&self, end: End) {
        let policy = &self.sites.current().policy;
        let (patience, linger) = match end {
            End::Stopped => (policy.grace, SHORT_LINGER),
            End::Succeeded => (policy.upgrade.drain, LINGER),
        };
        let due = Instant::now() + patience;
        let phases = async {
            self.drain.advance(Phase::Draining);
            sleep(linger).await;
            self.drain.advance(Phase::ClosingIdle);
            // Who stays on would have nobody to come back to sooner.
            if end == End::Succeeded {
                sleep_until(due.checked_sub(GOODBYES.min(patience / 2)).unwrap_or(due)).await;
            }
            self.drain.advance(Phase::ClosingTunnels);
            sleep_until(due).await;
        };
        tokio::select! {
            () = self.nothing_is_open() => {}
            () = phases => {
                let left = self.door.connections();
                tracing::warn!(left, "the time is over: what is left is cut off");
            }
        }
    }

    async fn nothing_is_open(&self) {
        while self.door.connections() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn succeeded(offer: Option<&Offer>) {
    match offer {
        Some(offer) => offer.taken().await,
        None => std::future::pending().await,
    }
}
