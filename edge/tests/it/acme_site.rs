//! What a CA meets, and what an edge may meet: ports that answer from an [`Acme`], and a CA that is busy.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use edge::acme::Acme;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Two ports, before anything answers there: a CA must be told of them first.
pub(crate) struct Site {
    http: TcpListener,
    tls: TcpListener,
}

impl Site {
    pub(crate) async fn bind() -> Self {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self { http: listen().await, tls: listen().await }
    }

    /// The ports for HTTP and for TLS.
    pub(crate) fn ports(&self) -> [u16; 2] {
        [&self.http, &self.tls].map(|listener| listener.local_addr().expect("an address").port())
    }

    /// Answers until the test's runtime ends, as long as the returned switch is on.
    pub(crate) fn serve(self, acme: &Arc<Acme>) -> Arc<AtomicBool> {
        let answers = Answers { acme: Arc::clone(acme), on: Arc::new(AtomicBool::new(true)) };
        let on = Arc::clone(&answers.on);
        let of_http = answers.clone();
        let answer = async move |Path(token): Path<String>| {
            of_http.acme().and_then(|acme| acme.http_answer(&token)).ok_or(StatusCode::NOT_FOUND)
        };
        let router = Router::new().route("/.well-known/acme-challenge/{token}", get(answer));
        tokio::spawn(async { axum::serve(self.http, router).await });
        tokio::spawn(answer_handshakes(self.tls, answers));
        on
    }
}

#[derive(Clone)]
struct Answers {
    acme: Arc<Acme>,
    on: Arc<AtomicBool>,
}

impl Answers {
    fn acme(&self) -> Option<&Acme> {
        self.on.load(Ordering::SeqCst).then_some(&self.acme)
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

impl ResolvesServerCert for Answers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.acme()?.alpn_certificate(hello.server_name()?)
    }
}

async fn answer_handshakes(listener: TcpListener, answers: Answers) {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(answers));
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        // The handshake is all: a CA closes after it, and where there is no certificate it fails.
        tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
    }
}

/// A stand-in for a CA that takes no more orders for now: Pebble is never busy.
pub(crate) struct BusyCa {
    pub(crate) directory: String,
    pub(crate) roots: PathBuf,
    /// How often it was asked.
    pub(crate) calls: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl BusyCa {
    /// Answers 503 with this `Retry-After`.
    pub(crate) async fn start(retry_after: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let roots = folder.path().join("certificate.pem");
        let key = KeyPair::generate().expect("a key");
        let names = CertificateParams::new(["127.0.0.1".to_owned()]).expect("names");
        let certificate = names.self_signed(&key).expect("a certificate");
        std::fs::write(&roots, certificate.pem()).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let directory = format!("https://{}/directory", listener.local_addr().expect("an address"));
        let calls = Arc::new(AtomicUsize::new(0));
        tokio::spawn(refuse(listener, TlsAcceptor::from(Arc::new(config)), retry_after, Arc::clone(&calls)));
        Self { directory, roots, calls, _folder: folder }
    }
}

async fn refuse(listener: TcpListener, tls: TlsAcceptor, retry_after: &str, calls: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut stream = tls.accept(stream).await.expect("a handshake");
        let mut request = [0; 4096];
        // One read is enough: there is no body, and the head is short.
        assert_ne!(stream.read(&mut request).await.expect("a request"), 0);
        calls.fetch_add(1, Ordering::SeqCst);
        let answer = format!("HTTP/1.1 503 Busy\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("written");
        stream.shutdown().await.expect("closed");
    }
}
