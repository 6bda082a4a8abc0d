//! Notices that certificates have changed: by their files, and by SIGHUP. Keeps tickets' keys fresh on the way.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};

use super::Tls;

/// How often the files are looked at: a handful of `stat` calls.
const LOOK: Duration = Duration::from_secs(1);
/// How often the tickets' keys are looked at.
const ROTATE: Duration = Duration::from_mins(1);
/// How often a certificate that ends soon is warned of.
const WARN: Duration = Duration::from_hours(24);

/// Runs in the background until the edge stops.
pub struct Reloader {
    tls: Arc<Tls>,
}

/// What tells that a file is another one: length, time of change.
type Stamp = Option<(u64, SystemTime)>;

impl Reloader {
    /// A reloader of these certificates.
    pub fn new(tls: Arc<Tls>) -> Self {
        Self { tls }
    }

    fn stamps(&self) -> Vec<Stamp> {
        let sources = self.tls.sources.iter();
        sources.flat_map(|of| [stamp(&of.files.certificate), stamp(&of.files.private_key)]).collect()
    }

    fn rotate_tickets(&self) {
        if let Some(Err(error)) = self.tls.tickets.as_ref().map(|tickets| tickets.rotate(SystemTime::now())) {
            tracing::warn!(%error, "the tickets' keys can't be changed");
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

#[async_trait]
impl BackgroundService for Reloader {
    /// Runs on a thread of its own (the service has one): reading files there keeps nobody waiting.
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                return tracing::error!(%error, "SIGHUP can't be listened to; certificates stay as they are");
            }
        };
        // What has changed since the edge began to start is read at the first look.
        let mut seen = Vec::new();
        let (mut rotated, mut warned) = (Instant::now(), None::<Instant>);
        let mut look = tokio::time::interval(LOOK);
        loop {
            let is_asked = tokio::select! {
                _ = look.tick() => false,
                received = hangup.recv() => received.is_some(),
                _ = shutdown.changed() => return,
            };
            let stamps = self.stamps();
            if is_asked || stamps != seen {
                seen = stamps;
                self.tls.reload();
            }
            if rotated.elapsed() >= ROTATE {
                rotated = Instant::now();
                self.rotate_tickets();
            }
            let warns = warned.is_none_or(|last| last.elapsed() >= WARN);
            self.tls.report_ends(warns);
            if warns {
                warned = Some(Instant::now());
            }
        }
    }
}
