//! `perf floods`: one attack after the other against a running stack; what well-behaved clients notice of it, and what
//! it costs the edge.
//!
//! `report`, `{attack, bystanders} → door`, `watch`

mod attack;
mod bystanders;
mod door;
mod report;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use crate::floods::attack::{Attack, Plan};
use crate::floods::bystanders::Bystanders;
use crate::floods::door::Door;
use crate::floods::report::{Memory, Row};
use crate::floods::watch::{MemoryWatch, settle};
use crate::stack::Stack;
use crate::{open_files, process, terminal};

/// Until all clients have connected.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long a killed edge may take to come back before the next attack.
const RETURN: Duration = Duration::from_secs(10);

/// What `floods` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file that describes the running stack.
    #[arg(long, value_name = "FILE", default_value = "var/stack.json")]
    stack: PathBuf,
    /// Only this attack; may be repeated. All by default.
    #[arg(long = "attack", value_name = "NAME")]
    attacks: Vec<Attack>,
    /// How long each attack goes on once all its connections are open.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// How long the clients are measured alone before it.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    alone: u64,
    /// Spread each attack over this many addresses instead of its own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8000))]
    addresses: Option<u16>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the attacks and prints what they did.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let most_connections = open_files::raise()?;
    let calm = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let attackers = attackers()?;
    let attacks =
        if arguments.attacks.is_empty() { Attack::value_variants() } else { arguments.attacks.as_slice() };
    let mut rows = Vec::new();
    for &attack in attacks {
        let mut plan = attack.plan();
        plan.connections = plan.connections.min(most_connections);
        plan.addresses = arguments.addresses.map_or(plan.addresses, usize::from).min(plan.connections);
        terminal::complain(&format!(
            "{}: {} connections from {} addresses",
            attack.name(),
            plan.connections,
            plan.addresses
        ));
        let row = calm.block_on(measure(arguments, &attackers, attack, plan));
        rows.push(row.with_context(|| attack.name())?);
    }
    attackers.shutdown_timeout(Duration::from_secs(1));
    report::print(&rows, arguments.json)
}

/// The attackers' threads give way to all others: on a machine of their own they wouldn't take the edge's CPU.
fn attackers() -> anyhow::Result<Runtime> {
    let step_aside = || {
        // Without it the attack is only a little rougher.
        let _ = rustix::process::nice(10);
    };
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(step_aside).build()?)
}

async fn measure(
    arguments: &Arguments,
    attackers: &Runtime,
    attack: Attack,
    plan: Plan,
) -> anyhow::Result<Row> {
    let (stack, pid) = running_edge(arguments).await?;
    let door = Door::new(stack.edge()?, &stack.ca)?;

    let bystanders = Bystanders::start(&door);
    sleep(WARM_UP).await;
    bystanders.take();
    sleep(Duration::from_secs(arguments.alone)).await;
    let alone = bystanders.take();

    let before = process::resident_bytes(pid)?;
    let files_before = process::open_files(pid)?;
    let cpu_before = process::cpu_time_with_children(pid)?;
    let watch = MemoryWatch::start(pid);
    let began = Instant::now();
    let length = Duration::from_secs(arguments.seconds);
    let tally = attackers.spawn(attack::attack(attack, plan, door, length)).await?;
    let during = bystanders.take();
    let took = began.elapsed();
    let cpu = process::cpu_time_with_children(pid).map_or(Duration::ZERO, |cpu| cpu - cpu_before);
    bystanders.stop().await;
    let settled = settle(pid, files_before).await;

    Ok(Row {
        attack: attack.name(),
        attackers: tally.sum_up(),
        alone,
        during,
        memory_bytes: Memory { before, peak: watch.stop().await?, after: process::resident_bytes(pid).ok() },
        edge_cpus: cpu.as_secs_f64() / took.as_secs_f64(),
        settled_seconds: settled.map(|settled| settled.as_secs_f64()),
    })
}

/// The stack with its edge, which may have to be started anew after what the last attack has done to it.
async fn running_edge(arguments: &Arguments) -> anyhow::Result<(Stack, u32)> {
    let began = Instant::now();
    loop {
        let stack = Stack::read(&arguments.stack)?;
        let pid = stack.edge_pid()?;
        if process::resident_bytes(pid).is_ok() {
            return Ok((stack, pid));
        }
        if began.elapsed() > RETURN {
            bail!("the edge doesn't run");
        }
        sleep(Duration::from_millis(100)).await;
    }
}
