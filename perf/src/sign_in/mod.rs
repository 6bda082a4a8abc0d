//! `perf sign-in`: what signing in and staying signed in cost, and how soon the end of a session counts everywhere.
//!
//! `mod → {tabs, pace, revocation, rotation} → ground`

mod ground;
mod pace;
mod revocation;
mod rotation;
mod tabs;

use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::sign_in::ground::Ground;
use crate::stack::Stack;
use crate::{table, terminal};

/// What `sign-in` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The running stack, as `cargo xtask up --detach` says it.
    #[arg(long, value_name = "FILE", default_value = "var/stack.json")]
    stack: PathBuf,
    /// How often twenty refreshes of one token are sent at once.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    rounds: u32,
    /// How many sign-outs are timed.
    #[arg(long, value_name = "N", default_value_t = 300)]
    sign_outs: u32,
    /// How long sign-ins and refreshes are measured, each.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The backend's program: with it the signing key is rotated under load.
    #[arg(long, value_name = "PATH", requires = "config")]
    rotate_with: Option<PathBuf>,
    /// A backend's configuration; its `key_lead_seconds` is waited for.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Measures one after the other, and prints each as it is known.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stack = Stack::read(&arguments.stack)?;
    Builder::new_current_thread().enable_all().build()?.block_on(measure(arguments, &stack))
}

async fn measure(arguments: &Arguments, stack: &Stack) -> anyhow::Result<()> {
    let ground = Ground::of(stack)?;
    let tabs = tabs::race(&ground, arguments.rounds).await?;
    terminal::say(&format!(
        "{} rounds of {} refreshes of one token at once: {} failed, {} rounds with more than one successor",
        arguments.rounds,
        tabs::AT_ONCE,
        tabs.failed,
        tabs.split,
    ));
    let seconds = Duration::from_secs(arguments.seconds);
    let rows = [
        pace::measure("sign-in", &ground, seconds, pace::Kind::SignIn).await?,
        pace::measure("refresh", &ground, seconds, pace::Kind::Refresh).await?,
    ];
    let head = ["", "a second", "p50 ms", "p99 ms", "backends' CPU µs", "Redis' CPU µs", "failed"];
    table::lay_out(&head, &rows).iter().for_each(|line| terminal::say(line));
    let rows = revocation::measure(&ground, arguments.sign_outs).await?;
    let head = ["from the 204 to", "times", "p50 ms", "p99 ms", "max ms"];
    table::lay_out(&head, &rows).iter().for_each(|line| terminal::say(line));
    if let (Some(program), Some(config)) = (&arguments.rotate_with, &arguments.config) {
        let rotation = rotation::run(&ground, program, config).await?;
        terminal::say(&format!(
            "the signing key rotated after {:.0} s, {} requests with tokens of both keys: {} refused",
            rotation.took.as_secs_f64(),
            rotation.requests,
            rotation.refused,
        ));
    }
    Ok(())
}
