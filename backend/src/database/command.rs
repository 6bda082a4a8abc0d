//! `backend database`: what an operator does with the data as a whole.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::config::{self, Config};

use super::{backup, copy, seal, sqlite};

/// What can be done with a database.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copies a SQLite installation to an empty PostgreSQL database, compares the two, and seals the file. Backends may
    /// run: they read on, and their writes wait or answer 503 until it is done.
    Copy {
        /// The SQLite database: a configuration that names it, such as config/backend.toml, or its URL.
        from: String,
        /// The PostgreSQL database, likewise. A URL's password is better kept in a configuration's file, or in PGPASSWORD.
        to: String,
        /// Leaves the file as it is, for rehearsals: what is written to it afterwards is not in the copy.
        #[arg(long)]
        no_seal: bool,
    },
    /// Lets a sealed file be written again, when the move is taken back. What was written elsewhere is not in it.
    Unseal {
        /// The SQLite database: a configuration that names it, or its URL.
        from: String,
    },
    /// Writes a copy of a SQLite database, as it is at this moment, into a new file, and checks it. Backends may run.
    Backup {
        /// The configuration, such as config/backend.toml.
        config: PathBuf,
        /// The file to make.
        file: PathBuf,
    },
}

/// Does it; what is to be said.
pub async fn obey(command: &Command) -> anyhow::Result<String> {
    match command {
        Command::Copy { from, to, no_seal } => {
            let (from, to) = (place(from)?, place(to)?);
            if !from.is_sqlite() || to.is_sqlite() {
                bail!("only SQLite is copied, and only to PostgreSQL");
            }
            let report = copy::copy(&from, &to, !no_seal).await?;
            Ok(report.to_string())
        }
        Command::Unseal { from } => {
            let mut source = sqlite::connect_to_existing(&place(from)?).await?;
            seal::remove(&mut source).await?;
            Ok("the file can be written again".to_owned())
        }
        Command::Backup { config, file } => {
            let database = Config::load(config)?.database;
            if !database.is_sqlite() {
                bail!("PostgreSQL has a tool for that: pg_dump --format=custom --file=FILE DATABASE");
            }
            let bytes = backup::backup(&database, file).await?;
            Ok(format!("wrote {} ({bytes} bytes) and checked it", file.display()))
        }
    }
}

/// The database that a URL or a configuration names.
fn place(text: &str) -> anyhow::Result<config::Database> {
    let is_url = text.starts_with("sqlite:") || text.contains("://");
    if !is_url {
        return Ok(Config::load(Path::new(text))?.database);
    }
    let folder = std::env::current_dir().context("there is no current folder")?;
    config::Database::by_url(text, &folder).map_err(anyhow::Error::msg)
}
