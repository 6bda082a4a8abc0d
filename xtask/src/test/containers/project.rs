//! The product as docker compose runs it, under a name, ports and a network of its own, so that a stack that runs
//! already stays untouched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::json;

use crate::terminal;
use crate::test::containers::engine::Engine;
use crate::test::containers::images::Bases;
use crate::test::containers::run_silently;
use crate::workspace;

/// Tells the tests where the description of the stack is.
const STACK_FILE: &str = "DAEMUN_STACK_FILE";
/// What of the environment holds here.
const SETTINGS: [(&str, &str); 10] = [
    ("COMPOSE_PROJECT_NAME", "daemun-test"),
    ("COMPOSE_FILE", "docker-compose.yml:docker-compose.override.yml"),
    ("DAEMUN_IMAGES", "daemun-test"),
    ("BINARIES", "prebuilt"),
    ("EDGE_HTTPS", "[::]:28443"),
    ("PUBLIC_URL", "https://localhost:28443"),
    ("EDGE_HTTP", "[::]:28000"),
    ("EDGE_ADMIN", "127.0.0.1:29100"),
    ("IDENTITY_PROVIDER_PORT", "29000"),
    ("SERVICE_NETWORK", "172.30.81"),
];
const BACKENDS: [&str; 2] = ["172.30.81.10", "172.30.81.11"];

/// The product, up or not; down when it is dropped.
pub(super) struct Project<'a> {
    engine: &'a Engine,
    bases: &'a Bases,
    folder: &'a Path,
}

impl<'a> Project<'a> {
    pub(super) fn new(engine: &'a Engine, bases: &'a Bases, folder: &'a Path) -> Self {
        Self { engine, bases, folder }
    }

    /// Checks that these files make a valid project.
    pub(super) fn check(&self, files: &[&str]) -> Command {
        let mut command = self.compose(&["config", "--quiet"]);
        command.env("COMPOSE_FILE", files.join(":"));
        // Production has no defaults for these.
        command.env("EDGE_HOST", "gate.example").env("GOOGLE_CLIENT_ID", "client");
        command
    }

    pub(super) fn build(&self) -> anyhow::Result<()> {
        run_silently(&mut self.compose(&["--profile", "nginx", "build", "--quiet"])).map(drop)
    }

    /// Waits until all is healthy, and writes down where it is.
    pub(super) fn up(&self) -> anyhow::Result<()> {
        let up = run_silently(&mut self.compose(&["up", "--detach", "--wait", "--wait-timeout", "120"]));
        if up.is_err() {
            self.show_logs();
        }
        up?;
        let ca = self.ca_file();
        let ca = ca.to_str().context("the target directory's path is not UTF-8")?;
        run_silently(&mut self.compose(&["cp", "prepare:/prepared/ca/ca.pem", ca]))?;
        let backend = |address: &&str| json!({"api": format!("http://{address}:8080"), "management": format!("http://{address}:9180"), "pid": 0});
        let stack = json!({
            "https": "https://localhost:28443",
            "http": "http://localhost:28000",
            "ca": ca,
            "edge_admin": "http://127.0.0.1:29100",
            "backends": BACKENDS.iter().map(backend).collect::<Vec<_>>(),
            "redis": "",
            "database": "",
            "identity_provider": "http://127.0.0.1:29000",
            "pids": {},
        });
        fs::write(self.stack_file(), stack.to_string()).context("cannot write the stack file")
    }

    /// Tells the tests all that they need.
    pub(super) fn describe_to(&self, command: &mut Command) {
        self.engine.describe_to(command);
        command.envs(SETTINGS);
        command.env("RUNTIME_IMAGE", &self.bases.runtime).env("REDIS_IMAGE", &self.bases.redis);
        command.env(STACK_FILE, self.stack_file());
    }

    /// The last lines that each container has said.
    pub(super) fn show_logs(&self) {
        let mut logs = self.compose(&["logs", "--no-color", "--tail", "15"]);
        if let Ok(text) = run_silently(&mut logs) {
            terminal::complain(&text);
        }
    }

    /// Removes what a run that was cut off has left.
    pub(super) fn remove_remains(&self) -> anyhow::Result<()> {
        run_silently(&mut self.compose(&[
            "--profile",
            "nginx",
            "down",
            "--volumes",
            "--remove-orphans",
            "--timeout",
            "20",
        ]))
        .map(drop)
    }

    /// Removes containers, networks, volumes and the images that were built.
    fn remove_all(&self) -> anyhow::Result<()> {
        self.remove_remains()?;
        let images = run_silently(self.engine.docker().args(["image", "ls", "--quiet", "daemun-test/*"]))?;
        let images: Vec<_> = images.lines().collect();
        if !images.is_empty() {
            run_silently(self.engine.docker().args(["image", "rm", "--force"]).args(images))?;
        }
        Ok(())
    }

    fn compose(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.current_dir(workspace::root()).stdin(Stdio::null());
        self.describe_to(&mut command);
        command.arg("compose").args(words);
        command
    }

    fn stack_file(&self) -> PathBuf {
        self.folder.join("stack.json")
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove_all() {
            terminal::complain(&format!("error: {error:#}"));
        }
    }
}
