//! A backend that answers with the bytes that it is told, whatever it is asked, and keeps what it was sent. An answer may
//! come in pieces, each when it is told to go on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::edge_process::Edge;

/// Listens until it is dropped.
pub(crate) struct RawBackend {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    pieces: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl RawBackend {
    /// A backend that sends `answer` for each header that it gets.
    pub(crate) async fn start(answer: impl Into<Vec<u8>>) -> Self {
        Self::start_in_pieces(vec![answer.into()]).await
    }

    /// The same, but what follows the first piece waits; an empty piece ends the connection.
    pub(crate) async fn start_in_pieces(answer: Vec<Vec<u8>>) -> Self {
        let answer: Arc<[Vec<u8>]> = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let pieces = Arc::new(Semaphore::new(0));
        let may_go_on = Arc::clone(&pieces);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                let may_go_on = Arc::clone(&may_go_on);
                tokio::spawn(async move {
                    let (mut buffer, mut answered) = ([0; 4096], 0);
                    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                        let headers = {
                            let mut kept = kept.lock().expect("not poisoned");
                            kept.extend_from_slice(&buffer[..read]);
                            kept.windows(4).filter(|four| four == b"\r\n\r\n").count()
                        };
                        for _ in answered..headers {
                            for (number, piece) in answer.iter().enumerate() {
                                if number > 0 {
                                    may_go_on.acquire().await.expect("never closed").forget();
                                }
                                if piece.is_empty() {
                                    return;
                                }
                                let _ = socket.write_all(piece).await;
                            }
                        }
                        answered = headers;
                    }
                });
            }
        });
        Self { address, received, pieces, task }
    }

    /// So many pieces more are sent.
    pub(crate) fn go_on(&self, pieces: usize) {
        self.pieces.add_permits(pieces);
    }

    /// A backend that answers the first request of each connection, and closes it when the next has come.
    pub(crate) async fn start_forgetful(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    for answer in [answer, ""] {
                        let mut request = Vec::new();
                        while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                            if socket.read_buf(&mut request).await.is_ok_and(|read| read == 0) {
                                return;
                            }
                        }
                        kept.lock().expect("not poisoned").extend_from_slice(&request);
                        let _ = socket.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        Self { address, received, pieces: Arc::new(Semaphore::new(0)), task }
    }

    /// A backend that answers GETs, and closes the connection of anybody else who has sent no more than a header.
    pub(crate) async fn start_impatient(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                        kept.lock().expect("not poisoned").extend_from_slice(&buffer[..read]);
                        if !buffer.starts_with(b"GET ") {
                            return;
                        }
                        let _ = socket.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        Self { address, received, pieces: Arc::new(Semaphore::new(0)), task }
    }

    /// All bytes so far.
    pub(crate) fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().expect("not poisoned")).into_owned()
    }
}

impl Drop for RawBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An edge whose first backend is this one; the second is an echo backend.
pub(crate) async fn beside(backend: &RawBackend) -> Edge {
    let address = backend.address;
    Edge::start_with(move |config| {
        let (before, rest) = config.split_once("{ address = \"").expect("a server");
        let behind = rest.split_once('"').expect("a closing quote").1;
        format!("{before}{{ address = \"{address}\"{behind}")
    })
    .await
}

/// An edge whose backends both are this one; keys of tokens still come from the echo backends.
pub(crate) async fn in_front_of(backend: &RawBackend) -> Edge {
    in_front_of_with(backend, |config| config).await
}

/// The same with a policy that is changed by `change`.
pub(crate) async fn in_front_of_with(backend: &RawBackend, change: impl Fn(String) -> String) -> Edge {
    let address = backend.address;
    Edge::start_with(move |config| {
        let config = change(config);
        let start = config.find("[upstreams.backend]").expect("an upstream");
        let (before, rest) = config.split_at(start);
        let (upstream, after) = rest.split_at(rest.find("# Limits are named").expect("the limits"));
        let keys = upstream.replace("[upstreams.backend]", "[upstreams.keys]");
        let before = before.replace("upstream = \"backend\"", "upstream = \"keys\"");
        let lines = upstream.lines().map(|line| match line.split_once("{ address = \"") {
            Some((indent, rest)) => {
                let behind = rest.split_once('"').expect("a closing quote").1;
                format!("{indent}{{ address = \"{address}\"{behind}\n")
            }
            None => format!("{line}\n"),
        });
        format!("{before}{}{keys}{after}", lines.collect::<String>())
    })
    .await
}
