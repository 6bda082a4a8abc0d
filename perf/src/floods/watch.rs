//! Watches what the edge's process uses.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::process;

const INTERVAL: Duration = Duration::from_millis(100);
/// How long the edge may take to be rid of what an attack has left.
const SETTLING: Duration = Duration::from_secs(20);
/// Files more than before that don't matter: connections to backends come and go.
const SPARE_FILES: usize = 16;

/// Samples resident memory until it is asked for the most that it saw.
pub(crate) struct MemoryWatch {
    task: JoinHandle<u64>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl MemoryWatch {
    /// Begins.
    pub(crate) fn start(pid: u32) -> Self {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut most = 0;
            loop {
                // A process that has ended uses nothing more.
                most = most.max(process::resident_bytes(pid).unwrap_or(0));
                tokio::select! {
                    () = sleep(INTERVAL) => {}
                    _ = &mut stopped => return most,
                }
            }
        });
        Self { task, stop }
    }

    /// The most memory that was seen, in bytes.
    pub(crate) async fn stop(self) -> anyhow::Result<u64> {
        // The task ends with the sender, too.
        let _ = self.stop.send(());
        Ok(self.task.await?)
    }
}

/// Waits until the edge has closed what an attack had opened, and a second more; says how long it took, or nothing if
/// it didn't.
pub(crate) async fn settle(pid: u32, files_before: usize) -> Option<Duration> {
    let began = Instant::now();
    let settled = loop {
        let files = process::open_files(pid).unwrap_or(0);
        if files <= files_before + SPARE_FILES {
            break Some(began.elapsed());
        }
        if began.elapsed() >= SETTLING {
            break None;
        }
        sleep(INTERVAL).await;
    };
    sleep(Duration::from_secs(1)).await;
    settled
}
