//! `edge run CONFIG`, `edge check CONFIG`, `edge healthcheck CONFIG`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(
    name = "edge",
    about = "Daemun's gateway: TLS, allowlists, limits, tokens, balancing, static files"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve with this configuration
    Run { config: PathBuf },
    /// Print everything that is wrong with a configuration
    Check { config: PathBuf },
    /// Ask the edge that runs with this configuration whether it serves
    Healthcheck { config: PathBuf },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Healthcheck { config } => {
            edge::config::load(&config).map_err(Into::into).and_then(|policy| edge::healthcheck::run(&policy))
        }
        Command::Check { config } => edge::config::load(&config).map(drop).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(config: &std::path::Path) -> anyhow::Result<()> {
    // Pingora reports a client that went away as an error of ours; the access log has it.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("info,pingora_core=warn,pingora_proxy=warn,pingora_load_balancing=off")
    });
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    edge::server::run(edge::config::load(config)?)
}

#[expect(clippy::print_stderr, reason = "a command line tool's errors go to standard error")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
