//! A contestant that runs.

use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::child::Owned;
use crate::process;
use crate::race::contestants::{Contestant, Kind, Place, Policy};
use crate::race::ground::Ground;
use crate::race::tokens::Quality;
use crate::target::Target;

/// Until the lines of all requests are in the file: who buffers, writes once a second.
const LOG_PATIENCE: Duration = Duration::from_secs(4);
/// No line is shorter. Fewer bytes a request are no access log.
const LEAST_LINE_BYTES: u64 = 60;
/// What may be written, of other things, when there is no access log.
const SILENCE_BYTES: u64 = 20_000;

/// A contestant with a policy. It ends when this is dropped.
pub(super) struct Runner {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) policy: Policy,
    pub(super) target: Target,
    process: Owned,
    access_log: PathBuf,
    errors: PathBuf,
}

impl Runner {
    /// Starts it; it needn't serve yet.
    pub(super) fn start(contestant: &Contestant, policy: Policy, ground: &Ground) -> anyhow::Result<Self> {
        let name = format!("{}-{}", contestant.name, policy.name());
        let access_log = ground.folder.path(&format!("{name}.log"));
        let errors = ground.folder.path(&format!("{name}.err"));
        let ports = free_ports()?;
        let place = Place { ground, policy, ports, name, access_log: access_log.clone() };
        let mut command = contestant.prepare(&place)?;
        let append = |path: &PathBuf| OpenOptions::new().create(true).append(true).open(path);
        command.stdin(Stdio::null()).stdout(append(&access_log)?).stderr(append(&errors)?);
        let process = Owned::start(&mut command)?;
        let target = format!("localhost:{}", ports[0]).parse()?;
        let (name, kind) = (contestant.name.clone(), contestant.kind);
        Ok(Self { name, kind, policy, target, process, access_log, errors })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn runs(&mut self) -> bool {
        self.process.runs()
    }

    /// A token for the next requests, where one is needed.
    pub(super) fn token(&self, ground: &Ground) -> anyhow::Result<Option<String>> {
        match self.policy {
            Policy::None => Ok(None),
            Policy::Full => ground.tokens.issue(self.kind.algorithm(), Quality::Good).map(Some),
        }
    }

    /// Memory, in bytes.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        process::proportional_bytes_with_children(self.pid())
    }

    /// What it said last: why it doesn't serve, most likely.
    pub(super) fn last_words(&self) -> String {
        let texts = [&self.errors, &self.access_log].map(|path| fs::read_to_string(path).unwrap_or_default());
        let words = texts.iter().find_map(|text| text.lines().rev().find(|line| !line.trim().is_empty()));
        words.unwrap_or("it says nothing").chars().take(300).collect()
    }

    /// Makes sure that there is a line for each of so many requests, or none for any.
    pub(super) async fn check_log(&self, requests: u64, wanted: bool) -> anyhow::Result<()> {
        let least = requests * LEAST_LINE_BYTES;
        let size = || fs::metadata(&self.access_log).map_or(0, |file| file.len());
        let began = Instant::now();
        while began.elapsed() < LOG_PATIENCE && size() < least {
            sleep(Duration::from_millis(50)).await;
        }
        match (wanted, size()) {
            (true, bytes) if bytes < least => {
                bail!("its access log has {bytes} bytes for {requests} requests")
            }
            (false, bytes) if bytes > SILENCE_BYTES => bail!("its access log isn't off: {bytes} bytes"),
            _ => Ok(()),
        }
    }

    /// Empties the log, so that the disk isn't what is measured. Who writes it appends.
    pub(super) fn empty_log(&self) -> anyhow::Result<()> {
        match File::options().write(true).open(&self.access_log) {
            Ok(file) => file.set_len(0).context("an access log"),
            Err(_) => Ok(()),
        }
    }
}

/// Held at the same time, so that they differ.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0").context("a free port");
    let held = [bind()?, bind()?, bind()?];
    let ports: Vec<u16> =
        held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<anyhow::Result<_>>()?;
    ports.try_into().ok().context("three ports")
}
