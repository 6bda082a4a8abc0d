//! What `disruptions` and `soak` are told.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;
use serde::Serialize;

/// As open files allow: one in this process, two in the edge, one in a server.
const MOST_SOCKETS: usize = 9_000;
const MOST_RATE: f64 = 10_000.0;

/// The edge and its load.
#[derive(Debug, clap::Args)]
pub(super) struct EdgeArguments {
    /// The edge's program.
    #[arg(long, value_name = "PATH", default_value = "target/release/edge")]
    pub(super) edge: PathBuf,
    /// The configuration that its own begins from.
    #[arg(long, value_name = "FILE", default_value = "config/edge.toml")]
    pub(super) edge_config: PathBuf,
    /// Append what the edge says to this file, access log included.
    #[arg(long, value_name = "FILE")]
    pub(super) edge_log: Option<PathBuf>,
    /// GETs a second by all clients together.
    #[arg(long, value_name = "NUMBER", default_value_t = 600.0)]
    pub(super) rate: f64,
    /// WebSockets that are open.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    pub(super) sockets: usize,
    /// After how long a GET has failed.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub(super) timeout_seconds: u16,
    /// How long an edge that was upgraded stays for its WebSockets.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(5..=600))]
    pub(super) drain_seconds: u16,
    /// For programs.
    #[arg(long)]
    pub(super) json: bool,
}

impl EdgeArguments {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.rate >= 10.0 && self.rate <= MOST_RATE, "a rate from 10 to {MOST_RATE}");
        ensure!(self.sockets <= MOST_SOCKETS, "{MOST_SOCKETS} sockets at most");
        ensure!(self.timeout_seconds > 0, "no time at all");
        Ok(())
    }
}

/// What `disruptions` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) edge: EdgeArguments,
    /// Only these, in the order given; by default all.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<Disruption>,
    /// How often each.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    pub(super) runs: u16,
    /// Load before the first. Longer than the shipped limits' minute: what an edge remembers of clients is to be as much as
    /// it will ever be.
    #[arg(long, value_name = "NUMBER", default_value_t = 75)]
    pub(super) warm_up_seconds: u16,
    /// Load without a disruption before each: what latency is compared to.
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub(super) settle_seconds: u16,
}

impl Arguments {
    pub(super) fn disruptions(&self) -> &[Disruption] {
        if self.only.is_empty() { Disruption::value_variants() } else { &self.only }
    }

    pub(super) fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up_seconds.into())
    }

    pub(super) fn settle(&self) -> Duration {
        Duration::from_secs(self.settle_seconds.into())
    }
}

/// What `soak` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct SoakArguments {
    #[command(flatten)]
    pub(super) edge: EdgeArguments,
    /// How long, after a minute that isn't counted.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1440))]
    pub(super) minutes: u16,
}

/// What `sockets` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct SocketsArguments {
    #[command(flatten)]
    pub(super) edge: EdgeArguments,
    /// How often all are opened and closed.
    #[arg(long, value_name = "NUMBER", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) rounds: u16,
}

/// What an operator or fate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Disruption {
    /// SIGHUP.
    Reload,
    /// Another certificate in the place of the one that is shown.
    Certificate,
    /// Another edge takes over.
    Upgrade,
    /// A server is drained and taken in again.
    Drain,
    /// A server crashes, and comes back after two seconds.
    Kill,
    /// A server does nothing for twelve seconds.
    Hang,
}

impl Disruption {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Certificate => "certificate",
            Self::Upgrade => "upgrade",
            Self::Drain => "drain",
            Self::Kill => "kill",
            Self::Hang => "hang",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn read(line: &[&str]) -> Arguments {
        Line::try_parse_from([&["disruptions"], line].concat()).expect("arguments").arguments
    }

    #[test]
    fn all_are_done_unless_some_are_named() {
        assert_eq!(read(&[]).disruptions().len(), 6);
        let arguments = read(&["--only", "hang,reload"]);
        assert_eq!(arguments.disruptions(), [Disruption::Hang, Disruption::Reload]);
    }

    #[test]
    fn what_a_machine_cannot_hold_is_refused() {
        assert!(read(&[]).edge.check().is_ok());
        assert!(read(&["--sockets", "100000"]).edge.check().is_err());
        assert!(read(&["--rate", "NaN"]).edge.check().is_err());
    }
}
