//! `cargo xtask test`: runs every check and test, goes on after a failure, and ends with a table of all.
//!
//! `steps` knows what to run, `run` runs a command and counts its tests by `counts`, `containers` and `postgres` bring up
//! what their tests need, `report` prints the table.

mod containers;
mod counts;
mod postgres;
mod report;
mod run;
mod steps;

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::test::counts::Counts;
use crate::test::report::{Line, Outcome};
use crate::test::steps::{Step, Toolbox};
use crate::{install, terminal};

/// What `test` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these steps; all of them by default.
    steps: Vec<Step>,
}

/// Runs the steps; the exit code says whether all went well.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let steps = steps::to_run(&arguments.steps);
    if [Step::Tests, Step::Postgres, Step::EndToEnd].iter().any(|step| steps.contains(step)) {
        install::missing_test_programs()?;
    } else {
        install::missing_programs()?;
    }
    let toolbox = Toolbox::find()?;
    let skips_fail = std::env::var("CI").is_ok_and(|value| value == "true");
    let mut lines = Vec::new();
    for step in steps {
        terminal::say(&format!("\n== {step}"));
        let start = Instant::now();
        let outcome = run_step(step, &toolbox, &lines, skips_fail);
        lines.push(Line { step, outcome, time: start.elapsed() });
    }
    terminal::say(&report::table(&lines));
    let failed = lines.iter().any(|line| line.outcome.is_failure());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_step(step: Step, toolbox: &Toolbox, before: &[Line], skips_fail: bool) -> Outcome {
    // Tests of programs that could not be built would be tests of older ones.
    let broken = |line: &Line| step.needs() == Some(line.step) && line.outcome.is_failure();
    if before.iter().any(broken) {
        return Outcome::NotRun;
    }
    let commands = toolbox.commands(step);
    let mut counts = match step {
        Step::Containers => containers::run(commands, toolbox.bin_dir()).unwrap_or_else(failure),
        Step::Postgres => postgres::run(commands).unwrap_or_else(failure),
        _ => run_all(commands),
    };
    if skips_fail {
        counts = counts.with_skips_as_failures();
    }
    Outcome::of(step, counts)
}

/// Runs the commands, each even after one has failed.
fn run_all(commands: Vec<Command>) -> Counts {
    let mut counts = Counts::default();
    for command in commands {
        counts += run::run(command).map_or_else(failure, |outcome| outcome.all_counts());
    }
    counts
}

fn failure(error: anyhow::Error) -> Counts {
    terminal::complain(&format!("error: {error:#}"));
    Counts { failed: 1, ..Counts::default() }
}
