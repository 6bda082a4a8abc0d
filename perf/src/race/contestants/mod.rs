//! Who races, and how each is told the same policy in its own words.
//!
//! `mod → {edge, nginx, haproxy, envoy}`. Another contestant is a file here and a line in each `match` below.

mod edge;
mod envoy;
mod haproxy;
mod nginx;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde::Serialize;

use crate::race::ground::Ground;
use crate::race::options::EdgeBinary;
use crate::race::tokens::Algorithm;

/// Of each contestant: more connections to upstreams are kept than requests run at once.
const KEPT_CONNECTIONS: usize = 1_024;

/// What a contestant does with a request before it forwards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Policy {
    /// TLS and the forwarding alone.
    None,
    /// An allowlist, a limit by address, and a token.
    Full,
}

impl Policy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
        }
    }
}

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Edge,
    Nginx,
    Haproxy,
    Envoy,
}

/// Who takes part.
#[derive(Clone, Debug)]
pub(super) struct Contestant {
    pub(super) name: String,
    pub(super) kind: Kind,
    binary: PathBuf,
    /// Of an edge: the configuration that its own begins from.
    base: PathBuf,
}

/// Where a contestant listens, and which of the folder's files are its own.
pub(super) struct Place<'a> {
    pub(super) ground: &'a Ground,
    pub(super) policy: Policy,
    /// HTTPS, and two more for who needs them.
    pub(super) ports: [u16; 3],
    pub(super) name: String,
    pub(super) access_log: PathBuf,
}

impl Place<'_> {
    fn write(&self, ending: &str, text: &str) -> anyhow::Result<PathBuf> {
        self.ground.folder.write(&format!("{}.{ending}", self.name), text)
    }

    fn shared(&self, name: &str) -> String {
        self.ground.folder.path(name).display().to_string()
    }
}

impl Contestant {
    pub(super) fn edge(edge: &EdgeBinary, base: &Path) -> Self {
        let base = edge.base.as_deref().unwrap_or(base).to_owned();
        Self { name: edge.name.clone(), kind: Kind::Edge, binary: edge.path.clone(), base }
    }

    /// The others, as far as they are installed; `envoy` is asked for before it is searched.
    pub(super) fn peers(envoy: Option<&Path>) -> Vec<(Kind, Option<Self>)> {
        let sought = [
            (Kind::Nginx, in_path("nginx").or_else(|| is_file("/usr/sbin/nginx".into()))),
            (Kind::Haproxy, in_path("haproxy").or_else(|| is_file("/usr/sbin/haproxy".into()))),
            (Kind::Envoy, envoy.map_or_else(envoy::find, |path| is_file(path.to_owned()))),
        ];
        let peer = |(kind, binary): (Kind, Option<PathBuf>)| {
            let name = kind.name().to_owned();
            (kind, binary.map(|binary| Self { name, kind, binary, base: PathBuf::new() }))
        };
        sought.map(peer).into()
    }

    pub(super) fn exists(&self) -> bool {
        self.binary.is_file()
    }

    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Writes its configuration and says how it is started.
    pub(super) fn prepare(&self, place: &Place<'_>) -> anyhow::Result<Command> {
        let mut command = bounded(&self.binary, place.ground.workers);
        match self.kind {
            Kind::Edge => edge::prepare(&self.base, place, &mut command),
            Kind::Nginx => nginx::prepare(place, &mut command),
            Kind::Haproxy => haproxy::prepare(place, &mut command),
            Kind::Envoy => envoy::prepare(place, &mut command),
        }?;
        Ok(command)
    }

    /// What it calls itself.
    pub(super) fn version(&self) -> String {
        let option = match self.kind {
            Kind::Nginx | Kind::Haproxy => "-v",
            Kind::Edge | Kind::Envoy => "--version",
        };
        let said = Command::new(&self.binary).arg(option).output();
        let text = said.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").trim().to_owned()
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Of the tokens that it is given: haproxy 2.6 knows no EdDSA.
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::Haproxy => Algorithm::Es256,
            _ => Algorithm::EdDsa,
        }
    }
}

/// A program that ends with this one, even if this one is killed, and keeps to its CPUs: the edge takes as many threads
/// as it has CPUs, so all get the same ones if the machine has more than they shall use. Both tools become the program.
fn bounded(binary: &Path, workers: usize) -> Command {
    let mut command = Command::new("setpriv");
    // Tied to the thread that starts it, which is the main one.
    command.args(["--pdeathsig", "TERM"]);
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cpus > workers {
        command.arg("taskset").arg("--cpu-list").arg(format!("0-{}", workers - 1));
    }
    command.arg(binary);
    command
}

/// A program of the PATH.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).find_map(|folder| is_file(folder.join(name)))
}

fn is_file(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}
