//! The edge's command line: `run`, `check`, `explain`, `policy`, `nginx`, `healthcheck`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use access_token::KeySet;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use edge::explain::{self, Question};
use edge::{config, nginx};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Daemun's gateway: TLS, allowlists, limits, tokens, balancing, static files.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve with this configuration; SIGHUP reads it again, SIGTERM ends it
    Run {
        config: PathBuf,
        /// Take over from the edge that runs with this configuration; it leaves once this one serves
        #[arg(long)]
        upgrade: bool,
    },
    /// Print everything that is wrong with a configuration
    Check {
        config: PathBuf,
        /// Print JSON: a list of faults, each with line, column and message
        #[arg(long)]
        json: bool,
    },
    /// Say what the policy would do with a request, without sending anything
    Explain(ExplainArguments),
    /// Print the effective policy, a row a route
    Policy {
        #[arg(default_value = "config/edge.toml")]
        config: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration that makes stock nginx do the same
    Nginx(NginxArguments),
    /// Ask the edge that runs with this configuration whether it serves
    Healthcheck { config: PathBuf },
}

#[derive(Args)]
struct ExplainArguments {
    /// GET, POST, …
    method: http::Method,
    /// A URL, or a path of the policy's first host
    url: String,
    /// The connection's address
    #[arg(long)]
    from: IpAddr,
    /// An access token that the request carries
    #[arg(long)]
    token: Option<String>,
    /// A field that the request carries, `Name: value`; may be given several times
    #[arg(long)]
    header: Vec<String>,
    /// The JWK Set that the token is verified with
    #[arg(long)]
    jwks: Option<PathBuf>,
    /// The policy
    #[arg(long, default_value = "config/edge.toml")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct NginxArguments {
    /// The policy
    config: PathBuf,
    /// Print what nginx does otherwise, Markdown
    #[arg(long)]
    notes: bool,
    /// Write paths from the root; else they are relative to this folder, which nginx is told by `-p`
    #[arg(long)]
    absolute: bool,
    /// Where nginx keeps its process id and what is too large for memory
    #[arg(long, default_value = "var/nginx")]
    state: PathBuf,
}

fn main() -> ExitCode {
    match obey(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config, upgrade } => run(&config, upgrade).map(|()| ExitCode::SUCCESS),
        Command::Check { config, json } => check(&config, json),
        Command::Explain(arguments) => answer(arguments).map(|()| ExitCode::SUCCESS),
        Command::Policy { config, json } => {
            let policy = config::load(&config)?;
            let rows = explain::rows(&policy);
            say(&if json { serde_json::to_string_pretty(&rows)? } else { explain::render(&rows, &policy) });
            Ok(ExitCode::SUCCESS)
        }
        Command::Nginx(arguments) => for_nginx(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Healthcheck { config } => {
            edge::healthcheck::run(&config::load(&config)?).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Every fault is told, and any is a failure; JSON goes to standard output in either case.
fn check(config: &Path, json: bool) -> anyhow::Result<ExitCode> {
    match (config::load(config), json) {
        (Ok(_), false) => Ok(ExitCode::SUCCESS),
        (Err(faults), false) => Err(faults.into()),
        (Ok(_), true) => {
            say("[]");
            Ok(ExitCode::SUCCESS)
        }
        (Err(faults), true) => {
            say(&serde_json::to_string_pretty(&faults.faults)?);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn run(config: &Path, upgrade: bool) -> anyhow::Result<()> {
    // Pingora reports a client that went away as an error of ours; the access log has it.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,pingora_core=warn,pingora_core::apps=off"));
    // A full disk must not end the edge.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    builder.json().flatten_event(true).with_env_filter(filter).init();
    edge::server::run(config, upgrade)
}

fn answer(arguments: ExplainArguments) -> anyhow::Result<()> {
    let policy = config::load(&arguments.config)?;
    let read_keys = |file: PathBuf| {
        let document = std::fs::read(&file).with_context(|| format!("{} can't be read", file.display()))?;
        KeySet::from_jwks(&document).with_context(|| file.display().to_string())
    };
    let question = Question {
        method: arguments.method,
        url: arguments.url,
        from: arguments.from,
        headers: explain::headers(&arguments.header, arguments.token.as_deref())?,
        keys: arguments.jwks.map(read_keys).transpose()?,
    };
    let report = explain::explain(&policy, question);
    say(&if arguments.json { serde_json::to_string_pretty(&report)? } else { report.to_string() });
    Ok(())
}

fn for_nginx(arguments: &NginxArguments) -> anyhow::Result<()> {
    let policy = config::load(&arguments.config)?;
    let root = arguments.absolute.then(std::env::current_dir).transpose()?;
    let places = nginx::Places { root, state: arguments.state.clone() };
    let rendered = nginx::render(&policy, &places)?;
    say(if arguments.notes { &rendered.notes } else { &rendered.config });
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command goes to the terminal")]
fn say(text: &str) {
    println!("{}", text.trim_end());
}

#[expect(clippy::print_stderr, reason = "a command line tool's errors go to standard error")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
