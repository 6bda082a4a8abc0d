//! Clients that connect, shake hands and leave.
//!
//! A handshake here is a TCP connection, TLS 1.3 and the end of both: the client closes at once and waits until the
//! server has done so too. So the server has truly finished, and its tickets have come.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::connection::{self, Appetite, connect_tls};
use crate::handshakes::Kind;
use crate::target::{Target, source};

/// Clients come from 127.2.0.0/16, each connection from another address: no port is used twice in a minute.
const NET: u8 = 2;
const ADDRESSES: usize = 62_500;
/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tickets that a client keeps.
const SESSIONS: usize = 32;

/// How often each outcome was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) full: u64,
    pub(super) resumed: u64,
    pub(super) failed: u64,
}

/// Clients that are ready to begin; each keeps its own tickets.
pub(super) struct Clients {
    target: Target,
    configs: Vec<Arc<ClientConfig>>,
}

impl Clients {
    /// Prepares clients. Those that shall resume sessions get their first ticket now.
    pub(super) async fn new(target: &Target, ca: &Path, number: u16, kind: Kind) -> anyhow::Result<Self> {
        let mut configs = Vec::new();
        for index in 0..usize::from(number) {
            let resumption = match kind {
                Kind::Full => Resumption::disabled(),
                Kind::Resumed => Resumption::in_memory_sessions(SESSIONS),
            };
            let config = Arc::new(connection::client(ca, "http/1.1", resumption)?);
            shake_hands(target, &config, index).await.context("the first handshake")?;
            configs.push(config);
        }
        Ok(Self { target: target.clone(), configs })
    }

    /// Shakes hands all the time; says how often, and how long it took.
    pub(super) async fn run(self, length: Duration) -> anyhow::Result<(Count, Duration)> {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        let step = self.configs.len();
        for (index, config) in self.configs.into_iter().enumerate() {
            let target = self.target.clone();
            tasks.spawn(async move {
                let mut count = Count::default();
                let mut address = index;
                while began.elapsed() < length {
                    match shake_hands(&target, &config, address).await {
                        Ok(HandshakeKind::Resumed) => count.resumed += 1,
                        Ok(_) => count.full += 1,
                        Err(_) => count.failed += 1,
                    }
                    address += step;
                }
                count
            });
        }
        let mut all = Count::default();
        while let Some(count) = tasks.join_next().await {
            let Count { full, resumed, failed } = count?;
            all.full += full;
            all.resumed += resumed;
            all.failed += failed;
        }
        Ok((all, began.elapsed()))
    }
}

async fn shake_hands(
    target: &Target,
    config: &Arc<ClientConfig>,
    address: usize,
) -> anyhow::Result<HandshakeKind> {
    timeout(PATIENCE, async {
        let from = source(NET, address % ADDRESSES);
        let mut stream = connect_tls(from, target, config, Appetite::Normal).await?;
        stream.shutdown().await?;
        // A server may end without TLS's farewell; the handshake was done all the same.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        stream.get_ref().1.handshake_kind().context("no handshake")
    })
    .await?
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server that remembers sessions, and its certificate in a file.
    async fn serve() -> (Target, tempfile::NamedTempFile) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), certificate.pem()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await.expect("TLS");
                    // A client that leaves is what this server waits for.
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                });
            }
        });
        (format!("localhost:{port}").parse().expect("a target"), file)
    }

    #[tokio::test]
    async fn sessions_are_full_or_resumed_as_asked() {
        let (target, ca) = serve().await;
        for kind in Kind::ALL {
            let clients = Clients::new(&target, ca.path(), 2, kind).await.expect("clients");
            let (count, _) = clients.run(Duration::from_millis(50)).await.expect("a count");
            let Count { full, resumed, failed } = count;
            assert_eq!(failed, 0, "{kind:?}");
            let (wanted, other) = if kind == Kind::Full { (full, resumed) } else { (resumed, full) };
            assert!(wanted > 0 && other == 0, "{kind:?}: {count:?}");
        }
    }
}
