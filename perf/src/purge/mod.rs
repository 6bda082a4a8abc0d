//! `perf purge`: what requests to a backend notice while `purge-sessions` takes expired sessions out of Redis.
//!
//! A million sessions are put into Redis, and a piece of them expires in each round: then nothing runs for some seconds,
//! and then the job, at the same rate of requests. So both see the same machine and the same data within seconds, and a
//! neighbour's noise falls on both.
//!
//! `mod → {load → people, sessions}, report`

mod load;
mod people;
mod report;
mod sessions;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::purge::load::Load;
use crate::purge::people::People;
use crate::purge::report::{Report, Round};
use crate::purge::sessions::Sessions;
use crate::stack::Stack;
use crate::terminal;

/// After sessions have expired, which keeps Redis busy for a moment.
const SETTLE: Duration = Duration::from_millis(500);
/// Of a million.
const SOME: u64 = 10;

/// What `purge` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The running stack, as `cargo xtask up --detach` says it.
    #[arg(long, value_name = "FILE", default_value = "var/stack.json")]
    stack: PathBuf,
    /// Sessions in all.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000))]
    sessions: u32,
    /// Requests a second, as an open loop.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long nothing runs in each round.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// In so many pieces they expire.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the rounds and prints what was noticed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stack = Stack::read(&arguments.stack)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(arguments, &stack))?;
    report.print(arguments.json)
}

async fn measure(arguments: &Arguments, stack: &Stack) -> anyhow::Result<Report> {
    let asked = stack.backends.first().context("the stack has no backend")?;
    let sessions = Sessions::open(&stack.redis)?;
    // Their access tokens last for 15 minutes.
    let people = People::sign_in(&asked.api, &stack.identity_provider).await?;
    let live = sessions.count()?;
    let mut report = Report { redis_bytes: sessions.fill(arguments.sessions)?, ..Report::default() };
    terminal::complain(&format!("{} sessions take {} MiB", arguments.sessions, report.redis_bytes >> 20));
    let load = Load::start(&people, arguments.rate);
    for round in 0..arguments.rounds {
        let bound =
            |round: u32| u64::from(arguments.sessions) * u64::from(round) / u64::from(arguments.rounds);
        let piece = bound(round) + 1..=bound(round + 1);
        sessions.expire(&piece)?;
        sleep(SETTLE).await;
        load.take();
        sleep(Duration::from_secs(arguments.seconds)).await;
        let before = load.take();
        let job = people.purge().await?;
        let meanwhile = load.take();
        let expected = piece.end() + 1 - piece.start();
        ensure!(job.written == expected, "{} were purged of {expected}", job.written);
        report.rounds.push(Round { before, meanwhile, purge: job.duration });
    }
    load.stop().await?;
    let left = sessions.count()?;
    // A sign-in of somebody else may have begun one meanwhile.
    ensure!(left <= live + SOME, "{left} sessions are left where {live} were");
    Ok(report)
}
