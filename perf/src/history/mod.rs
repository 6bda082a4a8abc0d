//! `perf history`: bookings under every misfortune, and whether what came of them could have come about.
//!
//! Clients book, cancel, move, approve and wait while backends are killed and stopped, Redis is killed and emptied, and
//! PostgreSQL is restarted. Every call is written down with what came of it; afterwards a checker looks for what can't
//! have happened with a service that keeps its promises. The same seed asks for the same things; when they happen
//! is the machine's.
//!
//! `mod → {ground, faults, client, state, check} → {world, record}`

mod check;
mod client;
mod faults;
mod ground;
mod record;
mod state;
mod world;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use jiff::{Timestamp, ToSpan as _};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::terminal::{complain, say};

use client::{Client, Shared};
use ground::{Ground, Kind};
use record::{Call, Outcome};
use world::World;

/// Violations that are told.
const TOLD: usize = 20;

/// Bookings under every misfortune, and whether what came of them could have come about.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What is asked for and what happens follow from it; random if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Calls in all, on each database.
    #[arg(long, default_value_t = 50_000)]
    attempts: u64,
    /// On this database only; on both if not given.
    #[arg(long, value_enum)]
    database: Option<Kind>,
    /// Users at once.
    #[arg(long, default_value_t = 32)]
    users: usize,
    /// The backend; the one beside this program if not given.
    #[arg(long)]
    backend: Option<PathBuf>,
    /// Where the history is written, a line for each call.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Lets go of the database's rule, to see the checker find it out.
    #[arg(long)]
    break_the_rule: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let kinds = arguments.database.map_or_else(|| vec![Kind::Sqlite, Kind::Postgres], |kind| vec![kind]);
    let backend = match &arguments.backend {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("backend"),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let mut violations = 0;
    for kind in kinds {
        say(&format!("{kind:?}: seed {seed}"));
        violations += runtime.block_on(one(arguments, kind, seed, &backend))?;
    }
    ensure!(violations == 0, "{violations} violations; --seed {seed}");
    Ok(())
}

/// One history; how many violations it has.
async fn one(arguments: &Arguments, kind: Kind, seed: u64, backend: &Path) -> anyhow::Result<usize> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut ground = Ground::start(kind, backend).await?;
    let world = World::create(&ground.db, ground.tokens.clone(), arguments.users).await?;
    if arguments.break_the_rule {
        ground.break_the_rule().await?;
    }
    let tomorrow = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().checked_add(1.day())?;
    let first_day = tomorrow.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_millisecond();
    let shared = Arc::new(Shared {
        world,
        services: ground.services(),
        began: Instant::now(),
        first_day,
        attempts: arguments.attempts,
        made: AtomicU64::new(0),
        undecided: Mutex::new(Vec::new()),
    });
    let stop = CancellationToken::new();
    let clients = async {
        let users =
            (0..=arguments.users).map(|user| tokio::spawn(Client::new(shared.clone(), user, seed).run()));
        let mut calls: Vec<Call> = Vec::new();
        for client in futures_util::future::join_all(users).await {
            calls.extend(client.context("a client broke off")?);
        }
        stop.cancel();
        anyhow::Ok(calls)
    };
    let (calls, faults) = tokio::join!(clients, faults::run(&mut ground, kind, seed, &stop));
    let (mut calls, faults) = (calls?, faults?);
    let seconds = shared.began.elapsed().as_secs_f64();
    calls.sort_by_key(|call| call.begun);
    write_down(arguments.out.as_deref(), kind, &calls)?;

    let rows = state::rows(&ground.db, &shared.world).await?;
    let mut violations = check::violations(&shared.world.specs, &calls, &rows);
    violations.extend(state::unreadable(&shared.world, &shared.services, &rows).await?);
    let kept = rows.iter().filter(|row| row.is_active()).count();
    say(&format!(
        "  {} calls in {seconds:.0} s; {} bookings, {kept} of them active",
        calls.len(),
        rows.len()
    ));
    say(&format!("  {}", counts(&calls)));
    say(&format!("  faults: {faults:?}"));
    say(&format!("  violations: {}", violations.len()));
    violations.iter().take(TOLD).for_each(|violation| complain(&format!("  {violation}")));
    Ok(violations.len())
}

/// How often what came of a call.
fn counts(calls: &[Call]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        let name = match &call.outcome {
            Outcome::Ok(_) => "ok".to_owned(),
            Outcome::Failed(_, name) => name.clone(),
            Outcome::Unknown => "unknown".to_owned(),
        };
        *counts.entry(name).or_default() += 1;
    }
    let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn write_down(folder: Option<&Path>, kind: Kind, calls: &[Call]) -> anyhow::Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{kind:?}.jsonl").to_lowercase());
    let mut file = BufWriter::new(File::create(&path).with_context(|| path.display().to_string())?);
    for call in calls {
        writeln!(file, "{}", serde_json::to_string(call)?)?;
    }
    Ok(file.flush()?)
}
