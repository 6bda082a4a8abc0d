//! How far the edge's end has come. It is said once, by the server, and heard by everything that waits for clients.
//!
//! ```text
//! Serving → Draining       no new connections; what is in flight goes on, each answer says that it is the last
//!         → ClosingIdle    connections that wait for a request are closed
//!         → ClosingTunnels WebSockets are told to go
//! ```
//!
//! Idle connections are not closed at once: a client may be sending its next request at that very moment, and would lose
//! it. One that is in use hears the end of it with its next answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pingora::server::ShutdownWatch;
use tokio::sync::watch;

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It hasn't begun.
    #[default]
    Serving,
    /// What is in flight goes on, and is the last of its connection.
    Draining,
    /// Whoever only waits is let go.
    ClosingIdle,
    /// WebSockets are let go.
    ClosingTunnels,
}

/// The edge's end, shared by all connections.
#[derive(Debug)]
pub struct Drain {
    /// Asked for each answer: cheaper than the watch.
    has_begun: AtomicBool,
    phase: watch::Sender<Phase>,
    /// The same as Pingora and its services know it.
    shutdown: watch::Sender<bool>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            has_begun: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Serving),
            shutdown: watch::Sender::new(false),
        }
    }
}

impl Drain {
    /// Goes on to a later phase; never back.
    pub fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let is_later = to > *phase;
            *phase = to.max(*phase);
            is_later
        });
        if to >= Phase::Draining {
            self.has_begun.store(true, Ordering::Release);
            self.shutdown.send_replace(true);
        }
    }

    /// Whether answers are each their connection's last.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// How far it comes, for somebody who waits again and again.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Waits until it has come so far.
    pub async fn reached(self: &Arc<Self>, phase: Phase) {
        reached(&mut self.subscribe(), phase).await;
    }

    /// Whether it has come so far.
    pub fn has_reached(&self, phase: Phase) -> bool {
        self.has_begun() && *self.phase.borrow() >= phase
    }

    /// For those that know one kind of end only: true from [`Phase::Draining`] on.
    pub fn watch(&self) -> ShutdownWatch {
        self.shutdown.subscribe()
    }
}

/// Waits until it has come so far.
pub async fn reached(watch: &mut watch::Receiver<Phase>, phase: Phase) {
    // Whoever waits is served by an edge that holds the sender.
    let _ = watch.wait_for(|now| *now >= phase).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_on_and_never_back() {
        let drain = Arc::new(Drain::default());
        assert!(!drain.has_begun());
        drain.advance(Phase::ClosingIdle);
        drain.advance(Phase::Draining);
        assert!(drain.has_begun() && *drain.watch().borrow());
        drain.reached(Phase::ClosingIdle).await;
        assert!(!drain.has_reached(Phase::ClosingTunnels));
    }
}
