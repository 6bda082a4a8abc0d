//! Certificates that issue and renew themselves (ACME, RFC 8555): what is due is ordered, proven and put in place.
//!
//! ```text
//! Acme (here) → order → answers      what the CA asks for, where any edge finds it
//!             → account → client     who asks, and how
//!             → certificate          what may replace the one in use, and when that is due
//!             → attempts             how long to leave the CA alone after a failure
//!             → pace                 how often all of that happens
//! state: the folder in which all of it is kept, shared by the edges of one site
//! ```
//!
//! The certificate in use is never touched by a failure: only a checked one replaces it, by one rename.

mod account;
mod answers;
mod attempts;
mod certificate;
mod client;
mod order;
mod pace;
mod state;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use rustls::sign::CertifiedKey;

pub use pace::Pace;

use crate::config::AcmePolicy;

use attempts::Attempts;
use client::CaClient;
use order::OrderError;
use state::StateFolder;

/// An order that takes longer is given up; the next attempt starts anew.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);

/// Orders the certificates of its hosts and answers for them while an order is under way.
///
/// Several edges may share one state folder: one of them orders at a time, each of them answers.
pub struct Acme {
    settings: Arc<AcmePolicy>,
    pace: Pace,
    state: StateFolder,
    ca: CaClient,
}

impl Acme {
    /// Makes the state folder; fails with all that is wrong with the settings.
    pub fn new(settings: AcmePolicy) -> anyhow::Result<Self> {
        Self::with_pace(settings, Pace::default())
    }

    /// Like [`Self::new`], at another pace.
    pub fn with_pace(settings: AcmePolicy, pace: Pace) -> anyhow::Result<Self> {
        let settings = settings.checked().map_err(|faults| anyhow::anyhow!(faults.join("; ")))?;
        let state = StateFolder::open(&settings.state)?;
        let ca = CaClient::new(settings.roots.as_deref())?;
        Ok(Self { settings: Arc::new(settings), pace, state, ca })
    }

    /// Where the certificate of one of the hosts is, once issued: one PEM file, the key first and then the chain,
    /// leaf first.
    ///
    /// It is one file because a rename replaces one file: a reader never sees a key with another's certificate.
    pub fn certificate_file(&self, host: &str) -> PathBuf {
        self.state.certificate(&host.to_ascii_lowercase())
    }

    /// The body for `GET /.well-known/acme-challenge/{token}` (RFC 8555, 8.3), or nothing where no order under way
    /// has this token.
    pub fn http_answer(&self, token: &str) -> Option<String> {
        answers::find_http(&self.state, token)
    }

    /// The certificate for a handshake with the protocol `acme-tls/1` (RFC 8737), or nothing where no order for
    /// this host is under way.
    pub fn alpn_certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        // Only a name of ours becomes part of a path.
        let host = self.settings.hosts.iter().find(|ours| ours.eq_ignore_ascii_case(host))?;
        answers::find_alpn(&self.state, host)
    }

    /// Orders what is due, one host after the other; nothing where another edge does so already.
    ///
    /// Failures are logged and counted here, and end nothing: the next look comes.
    pub async fn look(&self) {
        if let Err(error) = self.order_what_is_due().await {
            tracing::warn!(state = %self.settings.state.display(), %error, "the state of certificates can't be used");
        }
    }

    async fn order_what_is_due(&self) -> io::Result<()> {
        // Before the question what is due: else another edge could order between question and lock.
        let Some(_lock) = self.state.try_lock()? else {
            tracing::debug!("another edge looks after the certificates");
            return Ok(());
        };
        // No order is under way but under this lock: these are left from a crash.
        answers::remove_all(&self.state)?;
        for host in self.due().await? {
            self.attempt(&host).await?;
        }
        Ok(())
    }

    /// Hosts whose certificate is missing or ends soon, and for which no pause is on.
    async fn due(&self) -> io::Result<Vec<String>> {
        let (settings, state) = (Arc::clone(&self.settings), self.state.clone());
        // Reads and parses as many certificates as there are hosts: away from the threads that serve.
        let asked = tokio::task::spawn_blocking(move || due(&settings, &state)).await;
        asked.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// One attempt, whose failure is written down before it is made: neither a crash in its midst nor a disk that
    /// takes nothing makes the CA hear from us each minute.
    async fn attempt(&self, host: &str) -> io::Result<()> {
        let mut attempts = Attempts::find(&self.state, host)?;
        attempts.fail(&self.pace);
        attempts.save(&self.state, host)?;

        let ordered = tokio::time::timeout(ORDER_TIMEOUT, self.order(host)).await;
        let error = match ordered.unwrap_or(Err(OrderError::Timeout(ORDER_TIMEOUT))) {
            Ok(ends) => {
                count(host, "issued");
                tracing::info!(host, ends = %httpdate::HttpDate::from(ends), "a certificate was issued");
                return Attempts::remove(&self.state, host);
            }
            Err(error) => error,
        };
        if error.is_of_lost_account() {
            account::remove(&self.state, &self.settings.directory)?;
        }
        let pause = attempts.pause(&self.pace, error.retry_after());
        count(host, "failed");
        tracing::warn!(host, %error, next_attempt_seconds = pause.as_secs(), "no certificate was issued");
        attempts.save(&self.state, host)
    }

    /// Orders a certificate and puts it in place; returns when it ends.
    async fn order(&self, host: &str) -> Result<SystemTime, OrderError> {
        let account = account::open(&self.settings, &self.state, &self.ca).await?;
        let pem = order::certificate(&account, host, self.settings.challenge, &self.state).await?;
        let ends = certificate::check(&pem, host, SystemTime::now())?;
        // Here and not on another thread: a stop in the midst of it would free the lock before the write is done.
        self.state.write(&self.certificate_file(host), pem.as_bytes())?;
        Ok(ends)
    }
}

#[async_trait]
impl BackgroundService for Acme {
    /// Looks at once and then each [`Pace::look`]. A stop ends an order in its midst: what it left is removed, and
    /// it counts as a failed attempt.
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut every = tokio::time::interval(self.pace.look);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let looks = async {
            loop {
                every.tick().await;
                self.look().await;
            }
        };
        tokio::select! {
            () = looks => {}
            _ = shutdown.changed() => {}
        }
    }
}

fn due(settings: &AcmePolicy, state: &StateFolder) -> io::Result<Vec<String>> {
    let now = SystemTime::now();
    let mut due = Vec::new();
    for host in &settings.hosts {
        let renewal = certificate::renewal(state, host, settings.renew_before)?;
        if renewal <= now && !Attempts::find(state, host)?.is_paused(now) {
            due.push(host.clone());
        }
    }
    Ok(due)
}

fn count(host: &str, result: &'static str) {
    metrics::counter!("edge_acme_orders_total", "host" => host.to_owned(), "result" => result).increment(1);
}
