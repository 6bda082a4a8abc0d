//! The project's own commands: `cargo xtask up`, `down`, `prepare` and `test`.
//!
//! `up` runs the whole stack and watches over it, `test` proves it. Dependencies are few and light, because this
//! is what installs whatever the other crates need before they can be built.
//!
//! `main → {up, down, prepare, test} → {certificates → validity, secrets, lock, orphans, install, state_dir, workspace,
//! terminal}`

#[cfg(test)]
mod budget;
mod certificates;
mod down;
mod install;
mod lock;
mod orphans;
mod prepare;
mod secrets;
mod state_dir;
mod terminal;
mod test;
mod up;
mod validity;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs and tests Daemun.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds and starts the whole stack; Ctrl-C stops it.
    Up(up::Arguments),
    /// Stops the stack that runs in a state directory.
    Down(down::Arguments),
    /// Makes the files that containers are given: certificates and secrets.
    Prepare(prepare::Arguments),
    /// Runs every check and test.
    Test(test::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up(arguments) => up::run(&arguments),
        Command::Down(arguments) => down::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Prepare(arguments) => prepare::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Test(arguments) => test::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        terminal::complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
