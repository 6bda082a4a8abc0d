//! Pebble, the test CA of Let's Encrypt, with a resolver that finds every name at 127.0.0.1.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::json;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A CA of a test's own; it forgets everything when it is dropped.
pub(crate) struct Pebble {
    /// The URL of its directory.
    pub(crate) directory: String,
    /// The certificate of its directory.
    pub(crate) roots: PathBuf,
    management: String,
    log: PathBuf,
    _processes: [Process; 2],
    _folder: tempfile::TempDir,
}

impl Pebble {
    /// Starts a CA that looks for answers at these ports of 127.0.0.1, whatever the host.
    ///
    /// Another process may take a port between our look and its start: then others are tried.
    pub(crate) fn start(http: u16, tls: u16) -> Self {
        (0..10)
            .find_map(|_| Self::start_once(http, tls))
            .expect("Pebble ends at once, whichever ports it is given")
    }

    fn start_once(http: u16, tls: u16) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let roots = write_certificate(folder.path());
        let [directory, management, dns] = free_ports().map(|port| format!("127.0.0.1:{port}"));
        let config = json!({"pebble": {
            "listenAddress": directory,
            "managementListenAddress": management,
            "certificate": roots,
            "privateKey": folder.path().join("key.pem"),
            "httpPort": http,
            "tlsPort": tls,
            "externalAccountBindingRequired": false,
        }});
        let config_file = folder.path().join("config.json");
        fs::write(&config_file, config.to_string()).expect("a config");
        let log = folder.path().join("pebble.log");

        let mut resolver = Command::new("pebble-challtestsrv");
        resolver.args(["-dns01", &dns, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        resolver.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", ""]);
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(&config_file).args(["-dnsserver", &dns]);
        // No waits, and nothing by chance: each order is proven, and no call is refused for its nonce.
        pebble.envs([
            ("PEBBLE_VA_NOSLEEP", "1"),
            ("PEBBLE_AUTHZREUSE", "0"),
            ("PEBBLE_WFE_NONCEREJECT", "0"),
        ]);
        let processes = [
            Process::start(resolver, &folder.path().join("resolver.log"), &dns)?,
            Process::start(pebble, &log, &directory)?,
        ];
        let directory = format!("https://{directory}/dir");
        Some(Self { directory, roots, management, log, _processes: processes, _folder: folder })
    }

    /// How many orders it took, failed ones too.
    pub(crate) fn orders(&self) -> usize {
        self.log_lines("orders in the db")
    }

    /// How many accounts were registered with it.
    pub(crate) fn accounts(&self) -> usize {
        self.log_lines("accounts in memory")
    }

    fn log_lines(&self, of: &str) -> usize {
        fs::read_to_string(&self.log).expect("a log").lines().filter(|line| line.contains(of)).count()
    }

    /// Whether clients that trust this CA accept the chain of a PEM text for a host.
    pub(crate) async fn vouches_for(&self, pem: &[u8], host: &'static str) -> bool {
        let Ok(chain) = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() else {
            return false;
        };
        let mut roots = RootCertStore::empty();
        roots.add(self.root().await).expect("a root");
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier");
        let name = ServerName::try_from(host).expect("a name");
        let [leaf, issuers @ ..] = chain.as_slice() else { return false };
        verifier.verify_server_cert(leaf, issuers, &name, &[], UnixTime::now()).is_ok()
    }

    /// It makes its root anew at each start.
    async fn root(&self) -> CertificateDer<'static> {
        // Another test of this process may have installed it already.
        let _ = ring::default_provider().install_default();
        let own = reqwest::Certificate::from_pem(&fs::read(&self.roots).expect("is there")).expect("PEM");
        let client = reqwest::Client::builder().tls_certs_only([own]).timeout(PATIENCE).build();
        let url = format!("https://{}/roots/0", self.management);
        let answer = client.expect("a client").get(url).send().await.expect("an answer");
        CertificateDer::from_pem_slice(&answer.bytes().await.expect("a body")).expect("a certificate")
    }
}

/// A child that ends with the test.
struct Process(Child);

impl Process {
    /// Starts a program and waits until it listens; nothing where it ends before.
    fn start(mut command: Command, log: &Path, address: &str) -> Option<Self> {
        let output = File::create(log).expect("a log");
        command.stdout(output.try_clone().expect("a log")).stderr(output);
        let program = command.get_program().to_owned();
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{} can't be started ({error}): install the package `pebble`", program.display())
        });
        let mut process = Self(child);
        let started = Instant::now();
        while process.0.try_wait().expect("a child of ours").is_none() {
            if TcpStream::connect(address).is_ok() {
                return Some(process);
            }
            assert!(started.elapsed() < PATIENCE, "{} does not listen", program.display());
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write_certificate(folder: &Path) -> PathBuf {
    let key = KeyPair::generate().expect("a key");
    let names = CertificateParams::new(["127.0.0.1".to_owned()]).expect("names");
    let file = folder.join("certificate.pem");
    fs::write(&file, names.self_signed(&key).expect("a certificate").pem()).expect("a certificate");
    fs::write(folder.join("key.pem"), key.serialize_pem()).expect("a key");
    file
}

/// Ports that were free a moment ago; held together so that they differ.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}
