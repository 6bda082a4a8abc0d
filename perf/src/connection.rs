//! Connections of clients: from a chosen loopback address, with TLS that trusts the stack's CA.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::target::Target;

/// Makes a TLS 1.3 client that trusts a CA's certificate, offers `protocol` (ALPN), and keeps tickets as told.
pub(crate) fn client(ca: &Path, protocol: &str, resumption: Resumption) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca).with_context(|| format!("{}", ca.display()))?;
    for certificate in certificates {
        roots.add(certificate?).context("a root")?;
    }
    ensure!(!roots.is_empty(), "{} holds no certificate", ca.display());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config.resumption = resumption;
    Ok(config)
}

/// How much a client can be sent before it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appetite {
    /// What the system thinks best.
    Normal,
    /// Next to nothing: a small buffer, and small segments, by which the sender's system sizes its own buffer.
    Small,
}

const SMALL_BUFFER_BYTES: u32 = 2_048;
const SMALL_SEGMENT_BYTES: u32 = 536;

/// Connects from `source`.
pub(crate) async fn connect(
    source: Ipv4Addr,
    target: SocketAddr,
    appetite: Appetite,
) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if appetite == Appetite::Small {
        socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
        SockRef::from(&socket).set_tcp_mss(SMALL_SEGMENT_BYTES)?;
    }
    socket.bind(SocketAddr::from((source, 0)))?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same, with TLS.
pub(crate) async fn connect_tls(
    source: Ipv4Addr,
    target: &Target,
    config: &Arc<ClientConfig>,
    appetite: Appetite,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = connect(source, target.address, appetite).await?;
    TlsConnector::from(config.clone()).connect(target.name.clone(), stream).await
}
