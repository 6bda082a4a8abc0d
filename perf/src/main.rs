//! Measurements against a stack that runs already, `perf floods`, `perf handshakes` and `perf purge`, of gateways that it starts itself,
//! `perf race`, `perf disruptions`, `perf history`, `perf soak` and `perf sockets`, and within this process, `perf policy`.
//!
//! `main → {disruptions, floods, handshakes, history, policy, purge, race, sign_in} → {api, h2, http1, connection → target, child → process, stack, token, open_files,
//! statistics, table, terminal, timer}`

mod api;
mod child;
mod connection;
mod disruptions;
mod floods;
mod h2;
mod handshakes;
mod history;
mod http1;
mod open_files;
mod policy;
mod process;
mod purge;
mod race;
mod sign_in;
mod stack;
mod statistics;
mod table;
mod target;
mod terminal;
mod timer;
mod token;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Daemun.
#[derive(Parser)]
#[command(bin_name = "cargo run --release -p perf --")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What clients notice while an operator or fate does something to an edge that runs.
    Disruptions(disruptions::Arguments),
    /// A server behind the edge that is disrupted.
    #[command(hide = true)]
    DisruptionUpstream(disruptions::UpstreamArguments),
    /// What well-behaved clients notice, and what the edge spends, while others attack it.
    Floods(floods::Arguments),
    /// TLS 1.3 handshakes a second and their CPU, full and resumed, of several servers in turns.
    Handshakes(handshakes::Arguments),
    /// Bookings under every misfortune, and whether what came of them could have come about.
    History(history::Arguments),
    /// What the parts of a decision cost, in this process, in turns.
    Policy(policy::Arguments),
    /// What requests notice while a million expired sessions are purged.
    Purge(purge::Arguments),
    /// This edge against nginx, haproxy and Envoy, with and without a policy, in turns.
    Race(race::Arguments),
    /// The servers behind the gateways of a race, which it starts itself.
    #[command(hide = true)]
    RaceUpstreams(race::UpstreamArguments),
    /// What a sign-in and a refresh cost, whether refreshes at once agree, and how soon a sign-out counts everywhere.
    SignIn(sign_in::Arguments),
    /// Memory of an edge, and what fails, under the same load for a long time.
    Soak(disruptions::SoakArguments),
    /// Memory of an edge while WebSockets come and go.
    Sockets(disruptions::SocketsArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Disruptions(arguments) => disruptions::run(&arguments),
        Command::DisruptionUpstream(arguments) => disruptions::serve_upstream(&arguments),
        Command::Floods(arguments) => floods::run(&arguments),
        Command::Handshakes(arguments) => handshakes::run(&arguments),
        Command::History(arguments) => history::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Purge(arguments) => purge::run(&arguments),
        Command::Race(arguments) => race::run(&arguments),
        Command::RaceUpstreams(arguments) => race::serve_upstreams(&arguments),
        Command::SignIn(arguments) => sign_in::run(&arguments),
        Command::Soak(arguments) => disruptions::soak(&arguments),
        Command::Sockets(arguments) => disruptions::sockets(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
