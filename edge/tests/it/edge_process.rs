//! The real edge, with the shipped policy, in front of two echo backends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, ClientBuilder};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::backend::EchoBackend;
pub(crate) use crate::signer::Signer;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type TlsConnection = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

/// An edge with two backends and the key that its tokens are signed with.
pub(crate) struct Edge {
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) backends: [EchoBackend; 2],
    pub(crate) signer: Signer,
    pub(crate) certificate: String,
    process: Child,
    folder: tempfile::TempDir,
}

impl Edge {
    /// An edge with the shipped policy.
    pub(crate) async fn start() -> Self {
        Self::start_with(|config| config).await
    }

    /// An edge with the shipped policy, changed by `change` (numbers of limits, hosts, trusted proxies).
    pub(crate) async fn start_with(change: impl Fn(String) -> String) -> Self {
        Self::start_limited(None, change).await
    }

    /// The same, with no more than so many open files.
    pub(crate) async fn start_limited(open_files: Option<u32>, change: impl Fn(String) -> String) -> Self {
        let signer = Signer::new("key-1");
        let backends = [EchoBackend::start(&signer.jwks()), EchoBackend::start(&signer.jwks())];
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = write_certificate(folder.path());
        std::fs::create_dir_all(folder.path().join("web/admin")).expect("folders");
        std::fs::write(folder.path().join("web/index.html"), "the start page").expect("a page");
        std::fs::write(folder.path().join("web/admin/index.html"), "the admin page").expect("a page");
        let (process, [https, http, admin]) = start_process(folder.path(), open_files, |ports| {
            change(shipped_config(&backends, folder.path(), ports))
        });
        let loopback = |port| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
        let edge = Self {
            https: loopback(https),
            http: loopback(http),
            admin: loopback(admin),
            backends,
            signer,
            certificate,
            process,
            folder,
        };
        edge.wait_until("it serves and has keys", async || {
            let metrics = edge.admin_text("/metrics").await;
            let serves = edge.client().get(edge.url("/")).send().await.is_ok();
            serves && metrics.contains("edge_token_keys 1")
        })
        .await;
        edge
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https.port())
    }

    /// A client at 127.0.0.1 that trusts the edge's certificate and follows no redirects.
    pub(crate) fn client(&self) -> Client {
        self.client_builder().build().expect("a client")
    }

    /// A client at another loopback address.
    pub(crate) fn client_at(&self, address: [u8; 4]) -> Client {
        self.client_builder().local_address(IpAddr::from(address)).build().expect("a client")
    }

    pub(crate) fn client_builder(&self) -> ClientBuilder {
        // Another test of this process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = Certificate::from_pem(self.certificate.as_bytes()).expect("a certificate");
        Client::builder()
            .tls_certs_only([root])
            .resolve("localhost", self.https)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(10))
    }

    /// A bare HTTP/1.1 connection, for requests that no client library would send.
    pub(crate) async fn connect(&self) -> TlsConnection {
        self.dial(self.tls_client(&[]), "localhost", [127, 0, 0, 1]).await.expect("TLS")
    }

    /// A connection to `name` (an address: without one) from an address of this machine.
    pub(crate) async fn dial(
        &self,
        client: Arc<ClientConfig>,
        name: &str,
        from: [u8; 4],
    ) -> std::io::Result<TlsConnection> {
        let stream = self.dial_plain(from).await?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        TlsConnector::from(client).connect(name, stream).await
    }

    /// The same without TLS.
    pub(crate) async fn dial_plain(&self, from: [u8; 4]) -> std::io::Result<tokio::net::TcpStream> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        socket.connect(self.https).await
    }

    /// How a client that trusts the edge's first certificate connects; `alpn` names what it speaks.
    pub(crate) fn tls_client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("a root");
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Where its configuration, certificates and pages are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Ends it and starts it again, on the same ports.
    pub(crate) async fn restart(&mut self) {
        self.process.kill().expect("a child of ours");
        self.process.wait().expect("a child of ours");
        self.process = spawn(&self.folder.path().join("edge.toml"), None);
        self.wait_until("it serves again", async || self.client().get(self.url("/")).send().await.is_ok())
            .await;
    }

    /// Runs another edge of the same configuration, which takes over; gives the old one once the new one serves.
    pub(crate) async fn upgrade(&mut self) -> Child {
        let mut command = edge(&self.folder.path().join("edge.toml"), None, "--upgrade");
        let new = command.spawn().expect("the edge starts");
        let old = std::mem::replace(&mut self.process, new);
        let pid = format!("edge_process_id {}", self.pid());
        self.wait_until("the new one serves", async || self.admin_text("/metrics").await.contains(&pid))
            .await;
        old
    }

    /// Runs another edge that would take over, to its end.
    pub(crate) fn run_successor(&self) -> std::process::Output {
        edge(&self.folder.path().join("edge.toml"), None, "--upgrade").output().expect("it runs")
    }

    /// Waits until the process has ended by itself, and says how.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        ended(&mut self.process).await
    }

    /// A metric's value, as its line begins with `name` (labels included); 0 where it isn't there.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.admin_text("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// What the admin port answers, or nothing while it doesn't.
    pub(crate) async fn admin_text(&self, path: &str) -> String {
        let response = self.client().get(format!("http://{}{path}", self.admin)).send().await;
        match response {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// What the admin port says of a backend.
    pub(crate) async fn server_state(&self, backend: usize) -> serde_json::Value {
        self.server_state_at(self.backends[backend].api).await
    }

    /// The same, of a server at this address.
    pub(crate) async fn server_state_at(&self, address: SocketAddr) -> serde_json::Value {
        let text = self.admin_text("/upstreams").await;
        let page: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let items = page["items"].as_array().expect("a list");
        items.iter().find(|item| item["address"] == *address.to_string()).expect("a server").clone()
    }

    /// Waits until the admin port says so of a backend.
    pub(crate) async fn wait_until_state(
        &self,
        backend: usize,
        key: &str,
        value: impl Into<serde_json::Value>,
    ) {
        let value = value.into();
        let what = format!("{key} of backend {backend} is {value}");
        self.wait_until(&what, async || self.server_state(backend).await[key] == value).await;
    }

    /// Waits until the edge says so of a backend.
    pub(crate) async fn wait_until_healthy(&self, backend: usize, healthy: bool) {
        let state = format!(r#"{{"address":"{}","healthy":{healthy},"#, self.backends[backend].api);
        self.wait_until("a backend's health", async || self.admin_text("/upstreams").await.contains(&state))
            .await;
    }

    /// Waits for a condition, not for a time.
    pub(crate) async fn wait_until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let started = Instant::now();
        while !condition().await {
            assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything that reached either backend.
    pub(crate) fn received(&self) -> Vec<crate::backend::Received> {
        self.backends.iter().flat_map(EchoBackend::received).collect()
    }

    /// Whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("a child of ours").is_none()
    }

    /// What `edge healthcheck` says of it.
    pub(crate) fn healthcheck(&self) -> std::process::Output {
        let config = self.folder.path().join("edge.toml");
        Command::new(env!("CARGO_BIN_EXE_edge")).arg("healthcheck").arg(config).output().expect("it runs")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The shipped policy at these ports, with these backends, and what it needs in a folder.
pub(crate) fn shipped_config(backends: &[EchoBackend; 2], folder: &Path, ports: [u16; 3]) -> String {
    let shipped = std::fs::read_to_string(shipped_path()).expect("the shipped config");
    let mut config = config_text::expand(&shipped, |_| None).expect("every variable has a default");
    let mut replace = |from: &str, to: String| {
        assert!(config.contains(from), "the shipped config has no {from}");
        config = config.replace(from, &to);
    };
    for (port, shipped) in ports.iter().zip(["8443", "8000", "9100"]) {
        replace(&format!(":{shipped}\""), format!(":{port}\""));
    }
    for (backend, (api, management)) in backends.iter().zip([("8080", "9180"), ("8081", "9181")]) {
        replace(&format!("127.0.0.1:{api}"), backend.api.to_string());
        replace(&format!("127.0.0.1:{management}"), backend.management.to_string());
    }
    replace("../web", folder.join("web").display().to_string());
    replace("../certs/", format!("{}/", folder.display()));
    replace("../var/", format!("{}/", folder.display()));
    replace("redis = \"redis://127.0.0.1:6399\"", "redis = \"none\"".into());
    replace("health_interval_ms = 500", "health_interval_ms = 50".into());
    config
}

pub(crate) fn shipped_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/edge.toml")
}

/// Writes a certificate for localhost and 127.0.0.1 and its key into a folder.
pub(crate) fn write_certificate(folder: &Path) -> String {
    let key = KeyPair::generate().expect("a key");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
    std::fs::write(folder.join("localhost.pem"), certificate.pem()).expect("a certificate");
    std::fs::write(folder.join("localhost-key.pem"), key.serialize_pem()).expect("a key");
    certificate.pem()
}

/// Starts the edge. Another process may take a port between our look and the edge's: then others are tried.
fn start_process(
    folder: &Path,
    open_files: Option<u32>,
    config: impl Fn([u16; 3]) -> String,
) -> (Child, [u16; 3]) {
    let file = folder.join("edge.toml");
    for _ in 0..10 {
        let ports = free_ports();
        std::fs::write(&file, config(ports)).expect("a config");
        let mut process = spawn(&file, open_files);
        let started = Instant::now();
        while process.try_wait().expect("a child of ours").is_none() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, ports[0])).is_ok() {
                return (process, ports);
            }
            assert!(started.elapsed() < PATIENCE, "the edge does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    panic!("the edge ends at once, whichever ports it is given");
}

/// Runs the edge, with no more than so many open files.
fn spawn(config: &Path, open_files: Option<u32>) -> Child {
    edge(config, open_files, "").spawn().expect("the edge starts")
}

fn edge(config: &Path, open_files: Option<u32>, flag: &str) -> Command {
    let limit = open_files.map(|files| format!("ulimit -n {files} && ")).unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{limit}exec \"$0\" run {flag} \"$1\""))
        .arg(env!("CARGO_BIN_EXE_edge"))
        .arg(config)
        .stdout(Stdio::null());
    command
}

/// Waits until a process has ended by itself, and says how.
pub(crate) async fn ended(process: &mut Child) -> std::process::ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = process.try_wait().expect("a child of ours") {
            return status;
        }
        assert!(started.elapsed() < PATIENCE, "it doesn't end within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ports that were free a moment ago; held together so that they differ.
pub(crate) fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

/// The problem's name that an answer carries.
pub(crate) async fn problem_of(response: reqwest::Response) -> String {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    let status = response.status().as_u16();
    let problem: serde_json::Value = response.json().await.expect("a problem");
    assert_eq!(problem["request_id"], id);
    assert_eq!(problem["status"], status);
    let kind = problem["type"].as_str().expect("a type");
    kind.strip_prefix("/problems/").expect("a problem's type").to_owned()
}
