//! `perf handshakes`: TLS 1.3 handshakes a second and their CPU, of several servers in turns.
//!
//! `report`, `client`

mod client;
mod report;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use tokio::runtime::Builder;

use crate::handshakes::client::Clients;
use crate::handshakes::report::{Round, Series};
use crate::target::Target;
use crate::{open_files, process, terminal};

/// What `handshakes` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A server; may be repeated. Ratios are to the last.
    #[arg(long = "target", value_name = "NAME=HOST:PORT", required = true)]
    targets: Vec<Named<Target>>,
    /// A process of a server, whose children count as well; may be repeated.
    #[arg(long = "pid", value_name = "NAME=PID")]
    pids: Vec<Named<u32>>,
    /// The CA certificate that all of them are trusted by.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// How long each server is measured in each round, full and then resumed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How often.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Clients that connect at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Something of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named<T> {
    name: String,
    value: T,
}

impl<T> FromStr for Named<T>
where
    T: FromStr,
    T::Err: Into<anyhow::Error>,
{
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, value) = text.split_once('=').with_context(|| format!("{text} is not NAME=VALUE"))?;
        // All in one line, as the command line's parser shows no causes.
        let value = value.parse::<T>().map_err(|error| anyhow!("{:#}", error.into()))?;
        Ok(Self { name: name.to_owned(), value })
    }
}

/// How a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// With the certificate.
    Full,
    /// With a ticket of the session before.
    Resumed,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Full, Self::Resumed];
}

/// Measures all servers in turns and prints how they compare.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(stray) =
        arguments.pids.iter().find(|pid| arguments.targets.iter().all(|target| target.name != pid.name))
    {
        bail!("--pid {}={}: no target has this name", stray.name, stray.value);
    }
    open_files::raise()?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut all: Vec<Series> = Vec::new();
    for target in &arguments.targets {
        all.extend(Kind::ALL.map(|kind| Series::new(&target.name, kind)));
    }
    for number in 1..=arguments.rounds {
        terminal::complain(&format!("round {number} of {}", arguments.rounds));
        let turns = arguments.targets.iter().flat_map(|target| Kind::ALL.map(|kind| (target, kind)));
        for ((target, kind), series) in turns.zip(&mut all) {
            let round = runtime.block_on(measure(arguments, target, kind));
            series.rounds.push(round.with_context(|| target.name.clone())?);
        }
    }
    report::print(&all, arguments.json)
}

async fn measure(arguments: &Arguments, target: &Named<Target>, kind: Kind) -> anyhow::Result<Round> {
    let clients = Clients::new(&target.value, &arguments.ca, arguments.clients, kind).await?;
    let pids: Vec<u32> =
        arguments.pids.iter().filter(|pid| pid.name == target.name).map(|pid| pid.value).collect();
    let before = cpu_time(&pids)?;
    let (count, took) = clients.run(Duration::from_secs(arguments.seconds)).await?;
    let cpu = cpu_time(&pids)? - before;
    Ok(Round::new(count, took, (!pids.is_empty()).then_some(cpu)))
}

/// CPU time of all of a server's processes.
fn cpu_time(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|&pid| process::cpu_time_with_children(pid)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_processes_have_names() {
        let pid: Named<u32> = "edge=42".parse().expect("a pid");
        assert_eq!(pid, Named { name: "edge".into(), value: 42 });
        let target: Named<Target> = "nginx=localhost:8443".parse().expect("a target");
        assert_eq!(target.value.address.port(), 8443);
        assert!("edge".parse::<Named<u32>>().is_err());
        assert!("edge=x".parse::<Named<u32>>().is_err());
    }
}
