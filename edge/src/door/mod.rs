//! The front door: what happens between a connection and its first request. Pingora accepts the connection; here it gets
//! a place, is secured, and is read with a deadline on everything; what has two meanings is refused.
//!
//! ```text
//! accept ─ place (all, of one address) ─ TLS handshake ┬─ HTTP/1: header (in time, in size, one meaning) ─ the application
//!                                                      └─ HTTP/2: frames counted ─ the application
//! ```

pub mod capacity;
pub mod frames;
pub mod head;
mod http1;
mod http2;
mod refusal;
mod stall;
mod stream;
mod transport;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use rustls::{HandshakeKind, ServerConfig};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::capacity::{Bounds, Capacity, Place};
use self::head::HeadLimits;
use self::http2::Http2;
use self::stream::ClientStream;
use self::transport::{Socket, Transport};
use crate::client_ip::network_key;
use crate::config::{ConnectionPolicy, Policy};
use crate::connection::Connection;

/// What all connections have in common.
pub struct Door {
    policy: Arc<ConnectionPolicy>,
    head_limits: HeadLimits,
    trusted_proxies: Vec<IpNet>,
    capacity: Arc<Capacity>,
}

impl Door {
    /// The door that a policy asks for. Several listeners may share it: then they share its places.
    pub fn new(policy: &Policy) -> Arc<Self> {
        let connections = &policy.connections;
        Arc::new(Self {
            head_limits: HeadLimits {
                bytes: connections.max_header_bytes,
                target_bytes: connections.max_target_bytes,
                fields: connections.max_header_fields,
            },
            trusted_proxies: policy.trusted_proxies.clone(),
            capacity: Capacity::new(Bounds {
                connections: connections.max,
                of_one_share: connections.max_per_address,
                bytes: connections.memory_bytes,
            }),
            policy: Arc::new(connections.clone()),
        })
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.capacity.len()
    }

    /// What they and their requests are taken to take, in bytes.
    pub fn taken_bytes(&self) -> usize {
        self.capacity.taken_bytes()
    }

    /// Whose share of the places a connection takes; a trusted proxy's is without a bound of its own.
    fn share_of(&self, peer: IpAddr) -> Option<u64> {
        let is_trusted = self.trusted_proxies.iter().any(|network| network.contains(&peer));
        (!is_trusted).then(|| network_key(peer))
    }
}

/// A listener's application behind the door.
pub struct FrontDoor<A> {
    door: Arc<Door>,
    tls: Option<TlsAcceptor>,
    app: Arc<A>,
}

impl<A> FrontDoor<A> {
    /// An application that is spoken to in plain HTTP/1.
    pub fn plain(door: Arc<Door>, app: A) -> Self {
        Self { door, tls: None, app: Arc::new(app) }
    }

    /// An application that is spoken to over TLS, in HTTP/1 and HTTP/2.
    pub fn secured(door: Arc<Door>, tls: ServerConfig, app: A) -> Self {
        Self { door, tls: Some(TlsAcceptor::from(Arc::new(tls))), app: Arc::new(app) }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for FrontDoor<A> {
    async fn process_new(self: &Arc<Self>, socket: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let digest = socket.get_socket_digest();
        let peer = digest.as_ref().and_then(|digest| digest.peer_addr()).and_then(|peer| peer.as_inet())?;
        let client = peer.ip().to_canonical();
        match self.door.capacity.take(client, self.door.share_of(client)) {
            // A task of its own: Pingora's holds room for a handshake that it doesn't make, 9 KiB for as long as it runs.
            // It ends with the connection, at the latest with the runtime after the grace.
            Ok(place) => {
                let (front, place, shutdown) = (Arc::clone(self), Arc::new(place), shutdown.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = front.serve(socket, &place, &shutdown) => {}
                        () = place.given_away() => {}
                    }
                });
            }
            Err(full) => {
                metrics::counter!("edge_connections_refused_total", "reason" => full.name()).increment(1);
            }
        }
        None
    }

    async fn cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> FrontDoor<A> {
    async fn serve(&self, socket: Stream, place: &Arc<Place>, shutdown: &ShutdownWatch) {
        let policy = &self.door.policy;
        let Some(tls) = &self.tls else {
            let connection = Arc::new(Connection::default());
            let stream = ClientStream::http1(Transport::Plain(socket), connection, policy.write_pace);
            return http1::serve(&self.app, Box::new(stream), &self.door, place, shutdown).await;
        };
        // On the heap: what it takes is given back when it is done.
        let Some(secured) = Box::pin(self.handshake(tls, socket, place)).await else { return };
        let session = secured.get_ref().1;
        let connection = Arc::new(Connection::new(session.server_name().map(str::to_owned)));
        let is_http2 = match session.alpn_protocol() {
            Some(b"h2") => true,
            None | Some(b"http/1.1") => false,
            // A CA has seen the certificate that it looked for.
            Some(_) => return,
        };
        let transport = Transport::Tls(Box::new(secured));
        if !is_http2 {
            let stream = ClientStream::http1(transport, connection, policy.write_pace);
            return http1::serve(&self.app, Box::new(stream), &self.door, place, shutdown).await;
        }
        let (pace, patience) = (policy.write_pace, policy.header_timeout);
        let stream = ClientStream::http2(transport, Arc::clone(&connection), pace, patience);
        let app = Http2::new(Arc::clone(&self.app), Arc::clone(&self.door), connection, Arc::clone(place));
        Arc::new(app).process_new(Box::new(stream), shutdown).await;
    }

    async fn handshake(
        &self,
        tls: &TlsAcceptor,
        socket: Stream,
        place: &Arc<Place>,
    ) -> Option<TlsStream<Socket>> {
        let count = |result| metrics::counter!("edge_handshakes_total", "result" => result).increment(1);
        match timeout(self.door.policy.handshake_timeout, tls.accept(Socket::new(socket, place))).await {
            Ok(Ok(mut secured)) => {
                count(match secured.get_ref().1.handshake_kind() {
                    Some(HandshakeKind::Resumed) => "resumed",
                    _ => "full",
                });
                secured.get_mut().0.lift_bound();
                Some(secured)
            }
            // Scanners fail all day; each line would be theirs.
            Ok(Err(error)) => {
                count("failed");
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                count("late");
                None
            }
        }
    }
}
