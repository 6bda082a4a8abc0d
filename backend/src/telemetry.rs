//! What the process says about itself while it runs: one line of JSON an event, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` chooses what is said; by default `info`, and of libraries only warnings. A person
/// at a terminal gets plain lines, everything else gets JSON. Called twice, it leaves the first in place.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,redis=warn,hyper=warn,reqwest=warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would complain on standard error itself, and panic where that can't be written (a full disk).
        .log_internal_errors(false);
    let outcome = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    if outcome.is_err() {
        tracing::debug!("logging was set up already");
    }
}
