//! The front door: what happens between a connection and its first request. It gets a place, is secured, and is read with a
//! deadline on everything; what has two meanings is refused.
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

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use pingora::apps::{HttpServerApp, ServerApp};
use rustls::{HandshakeKind, ServerConfig};
use tokio::net::TcpStream;
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
use crate::drain::Drain;

/// What all connections have in common. Several listeners may share it: then they share its places.
pub struct Door {
    settings: ArcSwap<Settings>,
    capacity: Arc<Capacity>,
    drain: Arc<Drain>,
}

/// What a policy says of connections.
struct Settings {
    policy: ConnectionPolicy,
    head_limits: HeadLimits,
    trusted_proxies: Vec<IpNet>,
}

impl Settings {
    fn new(policy: &Policy) -> Self {
        let connections = policy.connections.clone();
        Self {
            head_limits: HeadLimits {
                bytes: connections.max_header_bytes,
                target_bytes: connections.max_target_bytes,
                fields: connections.max_header_fields,
            },
            trusted_proxies: policy.trusted_proxies.clone(),
            policy: connections,
        }
    }
}

impl Door {
    /// The door that a policy asks for, open until `drain` begins.
    pub fn new(policy: &Policy, drain: Arc<Drain>) -> Arc<Self> {
        Arc::new(Self {
            settings: ArcSwap::from_pointee(Settings::new(policy)),
            capacity: Capacity::new(bounds(&policy.connections)),
            drain,
        })
    }

    /// A small one for the admin port: it has places of its own, and stays open to the end.
    pub fn of_admin(policy: &Policy) -> Arc<Self> {
        let bounds = Bounds { connections: 64, of_one_share: 64, bytes: 4 * 1024 * 1024 };
        Arc::new(Self {
            settings: ArcSwap::from_pointee(Settings::new(policy)),
            capacity: Capacity::new(bounds),
            drain: Arc::default(),
        })
    }

    /// From now on it is as this policy says; connections that are open keep their places.
    pub fn change(&self, policy: &Policy) {
        self.capacity.change(bounds(&policy.connections));
        self.settings.store(Arc::new(Settings::new(policy)));
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.capacity.len()
    }

    /// What they and their requests are taken to take, in bytes.
    pub fn taken_bytes(&self) -> usize {
        self.capacity.taken_bytes()
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// A place for a client's connection. Of the places of one address a trusted proxy's share has no bound of its own.
    fn place(&self, client: IpAddr) -> Result<Place, capacity::Full> {
        let settings = self.settings.load();
        let is_trusted = settings.trusted_proxies.iter().any(|network| network.contains(&client));
        self.capacity.take(client, (!is_trusted).then(|| network_key(client)))
    }
}

fn bounds(policy: &ConnectionPolicy) -> Bounds {
    Bounds { connections: policy.max, of_one_share: policy.max_per_address, bytes: policy.memory_bytes }
}

/// What connections are secured with; it may change between two of them.
type ServerConfigs = Arc<ArcSwap<ServerConfig>>;

/// A listener's application behind the door.
pub struct FrontDoor<A> {
    door: Arc<Door>,
    tls: Option<ServerConfigs>,
    app: Arc<A>,
}

impl<A> FrontDoor<A> {
    /// An application that is spoken to in plain HTTP/1.
    pub fn plain(door: Arc<Door>, app: Arc<A>) -> Arc<Self> {
        Arc::new(Self { door, tls: None, app })
    }

    /// An application that is spoken to over TLS, in HTTP/1 and HTTP/2.
    pub fn secured(door: Arc<Door>, tls: ServerConfigs, app: Arc<A>) -> Arc<Self> {
        Arc::new(Self { door, tls: Some(tls), app })
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> FrontDoor<A> {
    /// Takes in a connection, if there is a place for it; it is served by a task of its own, to its end.
    pub fn take_in(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        match self.door.place(peer.ip().to_canonical()) {
            Ok(place) => {
                let (front, place) = (Arc::clone(self), Arc::new(place));
                tokio::spawn(async move {
                    tokio::select! {
                        () = front.serve(Socket::new(socket, peer), &place) => {}
                        () = place.given_away() => {}
                    }
                });
            }
            Err(full) => {
                metrics::counter!("edge_connections_refused_total", "reason" => full.name()).increment(1);
            }
        }
    }

    async fn serve(&self, socket: Socket, place: &Arc<Place>) {
        let Door { settings, drain, .. } = &*self.door;
        let Some(tls) = &self.tls else {
            let connection = Arc::new(Connection::new(None, Arc::clone(drain)));
            let stream = ClientStream::http1(Transport::Plain(socket), connection, &settings.load().policy);
            return http1::serve(&self.app, Box::new(stream), &self.door, place).await;
        };
        // On the heap: what it takes is given back when it is done.
        let Some(secured) = Box::pin(self.handshake(tls, socket, place)).await else { return };
        let session = secured.get_ref().1;
        let name = session.server_name().map(str::to_owned);
        let connection = Arc::new(Connection::new(name, Arc::clone(drain)));
        let is_http2 = match session.alpn_protocol() {
            Some(b"h2") => true,
            None | Some(b"http/1.1") => false,
            // A CA has seen the certificate that it looked for.
            Some(_) => return,
        };
        let transport = Transport::Tls(Box::new(secured));
        let settings = settings.load_full();
        if !is_http2 {
            let stream = ClientStream::http1(transport, connection, &settings.policy);
            return http1::serve(&self.app, Box::new(stream), &self.door, place).await;
        }
        let stream = ClientStream::http2(transport, Arc::clone(&connection), &settings.policy);
        let app = Http2::new(Arc::clone(&self.app), settings, connection, Arc::clone(place));
        let (app, end) = (Arc::new(app), drain.watch());
        tokio::select! {
            _ = app.process_new(Box::new(stream), &end) => {}
            () = app.is_forsaken() => {}
        }
    }

    async fn handshake(
        &self,
        tls: &ServerConfigs,
        socket: Socket,
        place: &Arc<Place>,
    ) -> Option<TlsStream<Socket>> {
        let count = |result| metrics::counter!("edge_handshakes_total", "result" => result).increment(1);
        let patience = self.door.settings.load().policy.handshake_timeout;
        let acceptor = TlsAcceptor::from(tls.load_full());
        match timeout(patience, acceptor.accept(socket.bounded(place))).await {
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
