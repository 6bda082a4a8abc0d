//! A Redis of a test's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "the password of tests";
const SHIPPED_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/redis.conf");

/// A Redis with the shipped configuration, its data in a folder.
pub(crate) struct Redis {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Redis {
    /// One that doesn't run yet, on a port that was free a moment ago.
    pub(crate) fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).expect("a file");
        Self { port, folder, process: None }
    }

    /// Starts it, with what it held, and waits until it answers.
    pub(crate) fn start(&mut self) {
        let process = Command::new("redis-server")
            .arg(SHIPPED_CONFIG)
            .args(["--port", &self.port.to_string(), "--requirepass", PASSWORD, "--dir"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(process.expect("redis-server is installed"));
        let started = Instant::now();
        while self.cli(&["PING"]) != "PONG" {
            assert!(started.elapsed() < Duration::from_secs(20), "redis does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        // As a backend does at once.
        self.cli(&["SET", access_token::EPOCH_KEY, "1", "NX"]);
    }

    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child of ours");
            process.wait().expect("a child of ours");
        }
    }

    /// Runs a command and returns what `redis-cli` prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "--no-auth-warning", "-a", PASSWORD])
            .args(arguments)
            .output()
            .expect("redis-cli is installed");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        Path::join(self.folder.path(), "password")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
