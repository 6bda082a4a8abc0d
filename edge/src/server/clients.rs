//! The threads that serve clients: one a core, each with a runtime of its own that accepts for itself. A connection stays on
//! its thread: nothing of it wakes another thread, and what it leaves behind (the kept connection to a server) is spawned
//! next to it. The thread that has the least to do is the one that accepts next.

use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Runs until it is dropped.
pub(super) struct Clients {
    handles: Vec<Handle>,
    /// Dropped first: the threads wait for it.
    end: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts a thread for each core.
    pub(super) fn start() -> anyhow::Result<Self> {
        let (end, wait) = watch::channel(());
        let mut clients = Self { handles: Vec::new(), end: Some(end), threads: Vec::new() };
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
            clients.handles.push(runtime.handle().clone());
            let mut wait = wait.clone();
            let run = move || {
                runtime.block_on(async {
                    // It ends with an error: nothing is ever sent.
                    let _ = wait.changed().await;
                });
                runtime.shutdown_background();
            };
            let thread = std::thread::Builder::new().name("clients".into()).spawn(run);
            clients.threads.push(thread.context("no thread for clients")?);
        }
        Ok(clients)
    }

    /// Where tasks may be spawned, a handle for each thread.
    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.end = None;
        for thread in self.threads.drain(..) {
            // It has nothing to say that could be told to anybody.
            let _ = thread.join();
        }
    }
}
