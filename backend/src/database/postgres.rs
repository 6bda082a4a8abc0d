//! PostgreSQL, a server's: one pool, TLS as its URL says.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::config;

use super::{ACQUIRE_TIMEOUT, BUSY_TIMEOUT};

/// What `pg_stat_activity` calls us.
const APPLICATION_NAME: &str = "daemun";

/// A statement that takes longer is cut off: nobody waits for its answer any more.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);

/// A transaction that does nothing for longer is rolled back, and its locks let go: its process is paused or gone.
const IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that was used less long ago is taken for alive without asking it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A server that is about to start is waited for this long; so is another backend's migration.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a pool, once the schema is up to date. It outlives the server: connections that have died are replaced.
pub(super) async fn open(config: &config::Database) -> anyhow::Result<PgPool> {
    let options = options(config)?;
    migrate(&options).await?;
    let synchronous_commit = match config.synchronous {
        config::Synchronous::Full => "on",
        config::Synchronous::Normal => "off",
    };
    let millis = |duration: Duration| duration.as_millis().to_string();
    let options = options.options([
        ("statement_timeout", millis(STATEMENT_TIMEOUT)),
        ("lock_timeout", millis(BUSY_TIMEOUT)),
        ("idle_in_transaction_session_timeout", millis(IDLE_TRANSACTION_TIMEOUT)),
        ("synchronous_commit", synchronous_commit.to_owned()),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(config.readers + config.writers)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                if metadata.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        });
    pool.connect_with(options).await.with_context(|| format!("connecting to {}", config.url))
}

/// Where the server is, and how to get in.
pub(super) fn options(config: &config::Database) -> anyhow::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(&config.url)
        .with_context(|| format!("database.url `{}`", config.url))?
        .application_name(APPLICATION_NAME);
    Ok(match &config.password {
        Some(password) => options.password(password.expose_secret()),
        None => options,
    })
}

/// A connection outside any pool, without limits on time: for what takes long and is done by hand.
pub(super) async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let patient = async {
        loop {
            match options.connect().await {
                Err(error) if super::is_transient(&error) => tokio::time::sleep(TRUSTED_IDLE).await,
                outcome => return outcome,
            }
        }
    };
    let place = || {
        let place = options
            .get_socket()
            .map_or_else(|| options.get_host().to_owned(), |socket| socket.display().to_string());
        format!("connecting to PostgreSQL at {place}, port {}", options.get_port())
    };
    tokio::time::timeout(OPEN_TIMEOUT, patient).await.with_context(place)?.with_context(place)
}

/// The migrator takes an advisory lock, so that backends that start at once go one after the other.
async fn migrate(options: &PgConnectOptions) -> anyhow::Result<()> {
    let mut connection = connect(options).await?;
    let migrations = sqlx::migrate!("migrations/postgres");
    migrations.run(&mut connection).await.context("bringing the schema up to date")?;
    connection.close().await.context("closing the migrations' connection")
}
