//! What happens to the stack meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::ground::{Ground, Kind};

/// How long a stopped process stands still: longer than its lock lasts.
const PAUSE: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillBackend,
    PauseBackend,
    KillRedis,
    EmptyRedis,
    StopDatabase,
    CrashDatabase,
}

const EVERYWHERE: [Fault; 4] = [Fault::KillBackend, Fault::PauseBackend, Fault::KillRedis, Fault::EmptyRedis];
const OF_A_SERVER: [Fault; 2] = [Fault::StopDatabase, Fault::CrashDatabase];

/// Lets one fault after the other happen until `stop`; how often each did.
pub(super) async fn run(
    ground: &mut Ground,
    kind: Kind,
    seed: u64,
    stop: &CancellationToken,
) -> anyhow::Result<BTreeMap<Fault, usize>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults = EVERYWHERE.to_vec();
    if kind == Kind::Postgres {
        faults.extend(OF_A_SERVER);
    }
    let mut counts = BTreeMap::new();
    loop {
        let rest = Duration::from_millis(random.random_range(300..1_500));
        tokio::select! {
            () = stop.cancelled() => return Ok(counts),
            () = tokio::time::sleep(rest) => {}
        }
        let fault = *faults.choose(&mut random).expect("there are some");
        let backend = random.random_range(0..2);
        let gone = Duration::from_millis(random.random_range(50..800));
        happen(ground, fault, backend, gone).await?;
        *counts.entry(fault).or_default() += 1;
    }
}

async fn happen(ground: &mut Ground, fault: Fault, backend: usize, gone: Duration) -> anyhow::Result<()> {
    match fault {
        Fault::KillBackend => {
            ground.kill_backend(backend);
            tokio::time::sleep(gone).await;
            ground.start_backend(backend).await?;
        }
        Fault::PauseBackend => {
            ground.pause_backend(backend, true);
            tokio::time::sleep(PAUSE).await;
            ground.pause_backend(backend, false);
        }
        Fault::KillRedis => {
            ground.kill_redis();
            tokio::time::sleep(gone).await;
            ground.start_redis().await?;
        }
        Fault::EmptyRedis => ground.empty_redis(),
        Fault::StopDatabase => ground.restart_database(false)?,
        Fault::CrashDatabase => ground.restart_database(true)?,
    }
    Ok(())
}
