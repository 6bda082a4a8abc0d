//! Notices that certificates have changed, by their files. Keeps tickets' keys fresh on the way.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

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
        let sources = self.tls.lock().sources.clone();
        let files = sources.iter().flat_map(|of| [&of.files.certificate, &of.files.private_key]);
        files.map(|file| stamp(file)).collect()
    }

    fn rotate_tickets(&self) {
        let tickets = self.tls.lock().tickets.clone();
        if let Some(Err(error)) = tickets.map(|tickets| tickets.rotate(SystemTime::now())) {
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
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // What has changed since the edge began to start is read at the first look.
        let mut seen = Vec::new();
        let (mut rotated, mut warned) = (Instant::now(), None::<Instant>);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                _ = shutdown.changed() => return,
            }
            let stamps = self.stamps();
            if stamps != seen {
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
