//! What `race` is told.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::ensure;
use clap::ValueEnum;
use serde::Serialize;

use crate::race::client::Protocol;
use crate::race::contestants::Policy;

/// What `race` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An edge, named "edge" unless it is said otherwise; may be repeated, to compare builds. The last part is the
    /// configuration that its own begins from, for a build that refuses today's.
    #[arg(long = "edge", value_name = "[NAME=]PATH[,CONFIG]", default_value = "target/dist/edge")]
    pub(super) edges: Vec<EdgeBinary>,
    /// The configuration that each edge's own begins from.
    #[arg(long, value_name = "FILE", default_value = "config/edge.toml")]
    pub(super) edge_config: PathBuf,
    /// The program of Envoy; by default what perf/race-peers.sh has installed.
    #[arg(long, value_name = "PATH")]
    pub(super) envoy: Option<PathBuf>,
    /// Only these, by name.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// Whom ratios are to.
    #[arg(long, value_name = "NAME", default_value = "nginx")]
    pub(super) against: String,
    /// Only this scenario; may be repeated.
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<Scenario>,
    /// Only this policy; may be repeated.
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<Policy>,
    /// How often each is measured, in turns.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) rounds: u16,
    /// How long each is measured in a round: at full load, and again at the fixed rate.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(super) seconds: u64,
    /// The fixed rate, as a part of what the slower of nginx and the slowest edge can do.
    #[arg(long, value_name = "PERCENT", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=90))]
    pub(super) rate: u64,
    /// Threads of each contestant.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) workers: u16,
    /// A line for each request, in a file.
    #[arg(long, value_name = "SWITCH", default_value = "on")]
    access_log: Switch,
    /// Whether the token check of nginx's subrequest and Envoy may remember a token that they verified, as the edge does.
    #[arg(long, value_name = "SWITCH", default_value = "on")]
    token_cache: Switch,
    /// Write configurations, logs and keys here and leave them; else they go with the race.
    #[arg(long, value_name = "FOLDER")]
    pub(super) keep: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(super) json: bool,
    /// Write the JSON to a file as well.
    #[arg(long, value_name = "FILE")]
    pub(super) json_file: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn scenarios(&self) -> Vec<Scenario> {
        all_or(&self.scenarios)
    }

    pub(super) fn policies(&self) -> Vec<Policy> {
        all_or(&self.policies)
    }

    pub(super) fn access_log(&self) -> bool {
        self.access_log == Switch::On
    }

    pub(super) fn token_cache(&self) -> bool {
        self.token_cache == Switch::On
    }

    pub(super) fn takes_part(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// In the order of their kind, whatever the order or number of times they were named in.
fn all_or<T: ValueEnum + PartialEq>(named: &[T]) -> Vec<T> {
    let all = T::value_variants().iter();
    all.filter(|one| named.is_empty() || named.contains(one)).cloned().collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// How contestants are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scenario {
    /// HTTP/1.1 on 64 connections that are kept.
    H1,
    /// HTTP/2, 10 requests at once on each of 32 connections.
    H2,
    /// A TCP connection, a full TLS handshake, one HTTP/1.1 request and the end, over and over.
    New,
}

impl Scenario {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::New => "new",
        }
    }

    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::H1 | Self::New => Protocol::Http1,
            Self::H2 => Protocol::Http2,
        }
    }

    /// The program that makes the full load, and Debian's package of it.
    pub(super) fn tool(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::H1 => Some(("wrk", "wrk")),
            Self::H2 => Some(("h2load", "nghttp2-client")),
            Self::New => None,
        }
    }
}

/// Names that no edge may have.
const PEERS: [&str; 3] = ["nginx", "haproxy", "envoy"];

/// A build of the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EdgeBinary {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) base: Option<PathBuf>,
}

impl FromStr for EdgeBinary {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, rest) = text.split_once('=').unwrap_or(("edge", text));
        let (path, base) = match rest.split_once(',') {
            Some((path, base)) => (path, Some(base.into())),
            None => (rest, None),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        ensure!(!name.is_empty() && name.bytes().all(is_plain), "{name:?} is no name for a file");
        ensure!(!PEERS.contains(&name), "{name} is another's name");
        ensure!(!path.is_empty(), "{text}: no path");
        Ok(Self { name: name.to_owned(), path: path.into(), base })
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

    #[test]
    fn edges_have_names_paths_and_configurations() {
        let edge: EdgeBinary = "target/dist/edge".parse().expect("an edge");
        assert_eq!((edge.name.as_str(), edge.base), ("edge", None));
        let edge: EdgeBinary = "before=/a/edge,/b/edge.toml".parse().expect("an edge");
        assert_eq!((edge.name.as_str(), edge.path), ("before", "/a/edge".into()));
        assert_eq!(edge.base, Some("/b/edge.toml".into()));
        for wrong in ["=x", "a/b=x", "before=", "nginx=x"] {
            assert!(wrong.parse::<EdgeBinary>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_named_is_all_in_its_own_order() {
        let line = Line::parse_from(["race", "--scenario", "h2", "--scenario", "h1", "--only", "edge,nginx"]);
        assert_eq!(line.arguments.scenarios(), [Scenario::H1, Scenario::H2]);
        assert_eq!(line.arguments.policies(), [Policy::None, Policy::Full]);
        assert!(line.arguments.takes_part("nginx") && !line.arguments.takes_part("envoy"));
    }
}
