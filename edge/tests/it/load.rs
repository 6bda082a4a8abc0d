//! Clients that ask without a pause, each in its own way, and count what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Client;
use tokio::task::JoinSet;

use crate::edge_process::Edge;

/// Clients of each kind.
const CLIENTS: usize = 4;

/// Clients that go on until they are stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    answered: AtomicUsize,
    failed: std::sync::Mutex<Vec<String>>,
}

impl Load {
    /// HTTP/1.1 on kept connections, HTTP/2, and a connection for each request; of pages and of the service.
    pub(crate) fn start(edge: &Edge) -> Self {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        let kinds: [fn(&Edge) -> Client; 3] = [
            |edge| edge.client_builder().http1_only().build().expect("a client"),
            |edge| edge.client_builder().build().expect("a client"),
            |edge| edge.client_builder().http1_only().pool_max_idle_per_host(0).build().expect("a client"),
        ];
        for kind in kinds {
            for path in ["/", "/api/vendors"].repeat(CLIENTS / 2) {
                tasks.spawn(ask(kind(edge), edge.url(path), Arc::clone(&shared)));
            }
        }
        Self { shared, tasks }
    }

    /// Waits until so many more were answered.
    pub(crate) async fn answers(&self, edge: &Edge, more: usize) {
        let enough = self.shared.answered.load(Ordering::SeqCst) + more;
        let answered = async || self.shared.answered.load(Ordering::SeqCst) >= enough;
        edge.wait_until("requests are answered", answered).await;
    }

    /// Ends it; gives how many were answered, and what failed.
    pub(crate) async fn end(self) -> (usize, Vec<String>) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.tasks.join_all().await;
        let failed = self.shared.failed.lock().expect("not poisoned").clone();
        (self.shared.answered.load(Ordering::SeqCst), failed)
    }
}

async fn ask(client: Client, url: String, shared: Arc<Shared>) {
    while !shared.is_over.load(Ordering::SeqCst) {
        let answer = async {
            let response = client.get(&url).send().await.map_err(|error| format!("{error:?}"))?;
            let status = response.status();
            response.bytes().await.map_err(|error| format!("{error:?}"))?;
            if status.is_success() { Ok(()) } else { Err(status.to_string()) }
        };
        match answer.await {
            Ok(()) => drop(shared.answered.fetch_add(1, Ordering::SeqCst)),
            Err(error) => shared.failed.lock().expect("not poisoned").push(error),
        }
    }
}
