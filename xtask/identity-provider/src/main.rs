//! Runs the development identity provider: `identity-provider --development --listen ADDRESS --state-dir DIR`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use identity_provider::IdentityProvider;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Plays the OIDC issuers that users sign in with. It vouches for whoever asks: for a developer's machine only.
#[derive(Parser)]
struct Arguments {
    /// Says that this is a developer's machine; nothing starts without it.
    #[arg(long)]
    development: bool,
    /// Where to listen; a loopback address.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Says that this runs in a container whose port is published on the host's loopback only; it may then listen on
    /// the container's other addresses.
    #[arg(long)]
    in_container: bool,
    /// Where browsers find it, such as `http://127.0.0.1:9000`; every issuer's name begins with it. By default where it
    /// listens.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The folder that keeps the issuers' keys.
    #[arg(long)]
    state_dir: PathBuf,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the one line that says why it doesn't start")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    ensure!(arguments.development, "it vouches for anybody, so it starts only with --development");
    ensure!(
        arguments.in_container || arguments.listen.ip().is_loopback(),
        "it vouches for anybody, so it listens on loopback only, not on {} (but see --in-container)",
        arguments.listen
    );
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).init();
    serve(arguments).await
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let base_url = match arguments.base_url {
        Some(url) => url,
        None => format!("http://{}", listener.local_addr()?),
    };
    let router = IdentityProvider::open(&arguments.state_dir, &base_url)?.router();
    let mut terminate = signal(SignalKind::terminate())?;
    tracing::info!(%base_url, "ready");
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        })
        .await?;
    Ok(())
}
