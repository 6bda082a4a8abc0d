//! Real nginx with the configuration that `edge nginx` prints, in front of echo backends.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, ClientBuilder};

use crate::backend::EchoBackend;
use crate::edge_process::{free_ports, shipped_config, write_certificate};
use crate::signer::Signer;

const PATIENCE: Duration = Duration::from_secs(20);

/// An nginx that serves a policy; dropping it ends it.
pub(crate) struct Nginx {
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    process: Child,
    log: PathBuf,
}

impl Nginx {
    /// Renders the policy that `config` gives for three ports (HTTPS, HTTP, admin) as `folder/nginx-compat/nginx.conf` and
    /// starts nginx with it. Another process may take a port meanwhile: then others are tried.
    pub(crate) fn start(folder: &Path, config: impl Fn([u16; 3]) -> String) -> Self {
        for _ in 0..10 {
            let ports = free_ports();
            let policy = folder.join("nginx-edge.toml");
            std::fs::write(&policy, config(ports)).expect("a policy");
            let conf = render(&policy, folder);
            let (mut process, log) = spawn(&conf, folder);
            let loopback = |port| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
            let started = Instant::now();
            while process.try_wait().expect("a child of ours").is_none() {
                if TcpStream::connect(loopback(ports[2])).is_ok() {
                    let [https, http, admin] = ports.map(loopback);
                    return Self { https, http, admin, process, log };
                }
                assert!(started.elapsed() < PATIENCE, "nginx does not listen");
                std::thread::sleep(Duration::from_millis(10));
            }
            let told = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(told.contains("Address already in use"), "nginx ends at once: {told}");
        }
        panic!("nginx ends at once, whichever ports it is given");
    }

    /// What it has written so far: its access log, and errors.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed leaves its workers behind.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// What `edge nginx` prints for a policy, in a file of its own.
pub(crate) fn render(policy: &Path, folder: &Path) -> PathBuf {
    let output = Command::new(env!("CARGO_BIN_EXE_edge"))
        .args(["nginx", "--absolute", "--state", "nginx-state"])
        .arg(policy)
        .current_dir(folder)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for inner in ["nginx-compat", "nginx-state"] {
        std::fs::create_dir_all(folder.join(inner)).expect("a folder");
    }
    let conf = folder.join("nginx-compat/nginx.conf");
    std::fs::write(&conf, output.stdout).expect("a configuration");
    conf
}

/// nginx on this configuration; as root its workers stay who they are, since the folder is ours alone.
pub(crate) fn nginx(conf: &Path, folder: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(conf).env("PATH", path());
    command
}

/// An ordinary user's PATH often leaves out where servers are installed.
fn path() -> String {
    format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

fn spawn(conf: &Path, folder: &Path) -> (Child, PathBuf) {
    let log = folder.join("nginx.log");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
    let errors = file.try_clone().expect("a handle");
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let globals = if is_root { "daemon off; user root;" } else { "daemon off;" };
    let process = nginx(conf, folder)
        .args(["-g", globals])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .expect("nginx is installed");
    (process, log)
}

/// nginx with the shipped policy, two echo backends behind it, and the key that its tokens are signed with.
pub(crate) struct NginxGateway {
    pub(crate) nginx: Nginx,
    pub(crate) backends: [EchoBackend; 2],
    pub(crate) signer: Signer,
    certificate: String,
    _folder: tempfile::TempDir,
}

impl NginxGateway {
    /// With the shipped policy, changed by `change`.
    pub(crate) fn start_with(change: impl Fn(String) -> String) -> Self {
        let signer = Signer::new("key-1");
        let backends = [EchoBackend::start(&signer.jwks()), EchoBackend::start(&signer.jwks())];
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = write_certificate(folder.path());
        std::fs::create_dir_all(folder.path().join("web/admin")).expect("folders");
        std::fs::write(folder.path().join("web/index.html"), "the start page").expect("a page");
        std::fs::write(folder.path().join("web/admin/index.html"), "the admin page").expect("a page");
        let config = |ports| change(shipped_config(&backends, folder.path(), ports));
        let nginx = Nginx::start(folder.path(), config);
        Self { nginx, backends, signer, certificate, _folder: folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.nginx.https.port())
    }

    /// A client at 127.0.0.1 that trusts the certificate and follows no redirects.
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
            .resolve("localhost", self.nginx.https)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(10))
    }
}
