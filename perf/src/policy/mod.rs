//! `perf policy`: what the parts of a decision cost, in this process, in turns.
//!
//! `mod → {bench, tokens}`. Another part is a file with its benches and a line in [`run`].

mod bench;
mod tokens;

use std::time::Duration;

use crate::policy::bench::{Bench, Series};
use crate::{table, terminal};

/// What `policy` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often each is measured, in turns.
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each is measured in a round.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    milliseconds: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Measures all in turns and prints how long each takes.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut benches: Vec<Bench> = Vec::new();
    benches.extend(tokens::benches()?);

    let long = Duration::from_millis(arguments.milliseconds);
    let mut all: Vec<Series> = benches.iter_mut().map(|bench| bench.calibrate(long)).collect();
    for _ in 0..arguments.rounds {
        for (bench, series) in benches.iter_mut().zip(&mut all) {
            series.measure(bench);
        }
    }
    if arguments.json {
        terminal::say(&serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    let head = ["what", "median ns", "least", "most", "each round"];
    let rows: Vec<_> = all.iter().map(Series::row).collect();
    table::lay_out(&head, &rows).iter().for_each(|line| terminal::say(line));
    Ok(())
}
