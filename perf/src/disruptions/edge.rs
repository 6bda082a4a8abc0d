//! The edge that is disrupted: how it is started, told things, and replaced by a successor.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::child::{Owned, signal, tied};
use crate::disruptions::admin::Admin;
use crate::disruptions::configuration::{Places, configuration};
use crate::disruptions::ground::Ground;
use crate::disruptions::load::Door;
use crate::disruptions::options::EdgeArguments;

/// How long what shall come true may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Reloads that were done.
const RELOADS: &str = r#"edge_policy_reloads_total{result="ok"}"#;

/// An edge that serves. It ends when this is dropped.
pub(super) struct Edge {
    pub(super) admin: Admin,
    pub(super) door: Arc<Door>,
    process: Owned,
    program: PathBuf,
    configuration: PathBuf,
    errors: PathBuf,
    log: Option<PathBuf>,
}

impl Edge {
    /// Starts it and waits until it serves and sees its servers.
    pub(super) async fn start(arguments: &EdgeArguments, ground: &Ground) -> anyhow::Result<Self> {
        let shipped = &arguments.edge_config;
        let text = fs::read_to_string(shipped).with_context(|| shipped.display().to_string())?;
        let servers: Vec<[u16; 2]> = ground.servers.iter().map(|it| [it.api, it.management]).collect();
        let places = Places {
            folder: ground.folder(),
            ports: ground.ports,
            servers: &servers,
            sockets: arguments.sockets,
            drain_seconds: arguments.drain_seconds,
        };
        let text = configuration(&text, &places).with_context(|| shipped.display().to_string())?;
        let file = ground.path("edge.toml");
        fs::write(&file, text)?;
        let program = arguments.edge.canonicalize();
        let program = program.with_context(|| {
            format!("{}: build it: cargo build --release -p edge", arguments.edge.display())
        })?;
        let [https, _, admin] = ground.ports;
        let door = Door::new(format!("localhost:{https}").parse()?, &ground.path("ca.pem"))?;
        let (errors, log) = (ground.path("edge.err"), arguments.edge_log.clone());
        let process = spawn(&program, &["run"], &file, &errors, log.as_deref())?;
        let (admin, door) = (Admin(admin), Arc::new(door));
        let mut edge = Self { admin, door, process, program, configuration: file, errors, log };
        edge.wait_until("it serves", async |edge| {
            let keys = edge.admin.metric("edge_token_keys").await;
            matches!(keys, Ok(Some(keys)) if keys > 0.0) && edge.door.certificate().await.is_ok()
        })
        .await?;
        for server in &ground.servers {
            edge.wait_until_usable(server.api).await?;
        }
        Ok(edge)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Has it read its policy again, and waits until it has.
    pub(super) async fn reload(&mut self) -> anyhow::Result<()> {
        let before = self.admin.metric(RELOADS).await?.unwrap_or(0.0);
        signal(self.pid(), Signal::HUP);
        self.wait_until(
            "the policy is read again",
            async |edge| matches!(edge.admin.metric(RELOADS).await, Ok(Some(now)) if now > before),
        )
        .await
    }

    /// Starts a successor, waits until it serves, and gives the one that goes.
    pub(super) async fn upgrade(&mut self) -> anyhow::Result<Owned> {
        let log = self.log.as_deref();
        let new = spawn(&self.program, &["run", "--upgrade"], &self.configuration, &self.errors, log)?;
        let old = std::mem::replace(&mut self.process, new);
        let pid = f64::from(self.pid());
        self.wait_until(
            "the successor serves",
            async |edge| matches!(edge.admin.metric("edge_process_id").await, Ok(Some(told)) if told == pid),
        )
        .await?;
        Ok(old)
    }

    /// Waits until the server at this port is healthy and neither ejected nor drained.
    pub(super) async fn wait_until_usable(&mut self, port: u16) -> anyhow::Result<()> {
        self.wait_until("a server is usable", async |edge| {
            let Ok(state) = edge.admin.server(port).await else { return false };
            state["healthy"] == true && state["ejected"] != true && state["draining"] != true
        })
        .await
    }

    /// Waits for a condition while the edge runs.
    pub(super) async fn wait_until(
        &mut self,
        what: &str,
        condition: impl AsyncFn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !condition(self).await {
            self.check_runs()?;
            ensure!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {}", self.last_words());
            sleep(LOOK).await;
        }
        Ok(())
    }

    pub(super) fn check_runs(&mut self) -> anyhow::Result<()> {
        if !self.process.runs() {
            bail!("the edge has ended: {}", self.last_words());
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.errors).unwrap_or_default();
        let words = text.lines().rev().find(|line| !line.trim().is_empty());
        words.unwrap_or("it says nothing").chars().take(300).collect()
    }
}

fn spawn(
    program: &Path,
    words: &[&str],
    configuration: &Path,
    errors: &Path,
    log: Option<&Path>,
) -> anyhow::Result<Owned> {
    let append = |path: &Path| -> anyhow::Result<File> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.with_context(|| path.display().to_string())
    };
    let output = log.map(append).transpose()?.map_or_else(Stdio::null, Stdio::from);
    let mut command = tied(program, "TERM");
    command.args(words).arg(configuration).stdin(Stdio::null()).stdout(output).stderr(append(errors)?);
    Owned::start(&mut command)
}
