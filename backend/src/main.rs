//! The service's command line: `run`, `healthcheck`, `keys init`, `jobs`, `database`, `demo-data`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use backend::app::{self, App};
use backend::auth::keys;
use backend::config::{self, Config};
use backend::database::{self, Db};
use backend::jobs::command;
use backend::redis::Redis;
use backend::{demo_data, health, telemetry};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The reservation and chat service behind the gateway.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT.
    Run {
        /// The configuration, such as config/backend.toml.
        config: PathBuf,
    },
    /// Asks the service that runs with this configuration whether it is ready.
    Healthcheck {
        /// The configuration, such as config/backend.toml.
        config: PathBuf,
    },
    /// Looks after the keys that access tokens are signed with.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Shows, runs and stops the jobs.
    Jobs {
        /// The configuration.
        #[arg(long, global = true, default_value = "config/backend.toml")]
        config: PathBuf,
        #[command(subcommand)]
        command: command::Command,
    },
    /// Copies the database, or backs it up.
    Database {
        #[command(subcommand)]
        command: database::command::Command,
    },
    /// Loads vendors to look at, if there are none yet.
    DemoData {
        /// The configuration, such as config/backend.toml.
        config: PathBuf,
        /// The folder that holds the data, such as config/demo.
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Makes the first signing key, if there is none yet.
    Init {
        /// The configuration, such as config/backend.toml.
        config: PathBuf,
    },
    /// Makes the next signing key. It is published at once, and signs once everybody has had the time to learn of it.
    Rotate {
        /// The configuration, such as config/backend.toml.
        config: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::init();
    match obey(arguments.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn obey(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config } => run(Config::load(&config)?).await,
        Command::Healthcheck { config } => health::ask(&Config::load(&config)?).await,
        Command::Keys { command: KeysCommand::Init { config } } => {
            let dir = config::keys_dir(&config)?;
            match keys::init(&dir)? {
                Some(kid) => say(&format!("made signing key {kid} in {}", dir.display())),
                None => say(&format!("{} holds a signing key already", dir.display())),
            }
            Ok(())
        }
        Command::Keys { command: KeysCommand::Rotate { config } } => {
            let tokens = Config::load(&config)?.tokens;
            let (kid, signs_at) = keys::rotate(&tokens.keys_dir, tokens.key_schedule())?;
            say(&format!("made signing key {kid}; it signs from {signs_at} on"));
            Ok(())
        }
        Command::Database { command } => {
            say(&database::command::obey(&command).await?);
            Ok(())
        }
        Command::Jobs { config, command } => jobs(&Config::load(&config)?, &command).await,
        Command::DemoData { config, folder } => {
            let config = Config::load(&config)?;
            let db = Db::open(&config.database).await.context("opening the database")?;
            let summary = demo_data::load(&db, &folder).await?;
            db.close().await;
            say(&summary.to_string());
            Ok(())
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let app = App::start(config).await?;
    tracing::info!(api = %app.api_address(), management = %app.management_address(), "serving");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    app.stop().await;
    Ok(())
}

/// The first signal lets a run be given back to the backends.
async fn jobs(config: &Config, command: &command::Command) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let db = Db::open(&config.database).await.context("opening the database")?;
    let jobs = app::jobs(config, &db, &Redis::new(&config.redis)?)?;
    let stop = CancellationToken::new();
    let mut answer = std::pin::pin!(command::obey(&jobs, command, &stop));
    let answer = tokio::select! {
        answer = answer.as_mut() => answer,
        _ = terminate.recv() => { stop.cancel(); answer.await }
        _ = interrupt.recv() => { stop.cancel(); answer.await }
    };
    db.close().await;
    say(&answer?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command goes to the terminal")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "the error of a command goes to the terminal")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
