//! `perf race`: this edge and other gateways with the same certificate, servers, policy and load, in turns.
//!
//! `mod → {report → verdict, measure → load, check} → runner → contestants → ground → {upstreams, tokens} → options`,
//! `{load, check} → client`

mod check;
mod client;
mod contestants;
mod ground;
mod load;
mod measure;
mod options;
mod report;
mod runner;
mod tokens;
mod upstreams;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::race::contestants::{Contestant, Kind, Policy, in_path};
use crate::race::ground::{Folder, Ground};
use crate::race::options::Scenario;
use crate::race::report::{Conditions, Memory, Out, Race};
use crate::race::runner::Runner;
use crate::race::tokens::Tokens;
use crate::race::upstreams::Upstreams;
use crate::race::verdict::Series;
use crate::{open_files, terminal};

pub(crate) use options::Arguments;
pub(crate) use upstreams::{Arguments as UpstreamArguments, serve as serve_upstreams};

/// The first load of each, which isn't counted: it fills caches and pools, and says what the fixed rate may be.
const WARM_UP: Duration = Duration::from_secs(2);
/// Of this process's threads, those that ask.
const THREADS: usize = 2;

/// Runs the race and prints it. All that it started ends with it, however it ends.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    open_files::raise()?;
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let race = runtime.block_on(async {
        tokio::select! {
            race = race(arguments) => race,
            stopped = told_to_stop() => stopped.and_then(|()| bail!("stopped")),
        }
    })?;
    report::print(&race, arguments)
}

async fn told_to_stop() -> anyhow::Result<()> {
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}

async fn race(arguments: &Arguments) -> anyhow::Result<Race> {
    let contestants = contestants(arguments)?;
    let scenarios = scenarios(arguments)?;
    let tokens = Tokens::new()?;
    let folder = Folder::prepare(arguments.keep.as_deref(), &tokens)?;
    let upstreams = Upstreams::start(&folder.path("jwks.json"), arguments.token_cache())?;
    let ground = Ground {
        folder,
        tokens,
        upstreams,
        workers: arguments.workers.into(),
        access_log: arguments.access_log(),
        remember_tokens: arguments.token_cache(),
    };
    let versions: BTreeMap<String, String> =
        contestants.iter().map(|one| (one.name.clone(), one.version())).collect();
    let conditions = Conditions::now(arguments, versions);
    let mut race = Race { conditions, series: Vec::new(), memory: Vec::new(), out: Vec::new() };
    for policy in arguments.policies() {
        let runners = line_up(&contestants, policy, &ground, &mut race).await;
        run_rounds(arguments, &scenarios, &ground, runners, &mut race).await?;
    }
    ensure!(
        race.series.iter().any(|series| !series.rounds.is_empty()),
        "nobody raced: {}",
        reasons(&race.out)
    );
    Ok(race)
}

fn reasons(out: &[Out]) -> String {
    let reasons: Vec<String> = out.iter().map(|out| format!("{}: {}", out.contestant, out.reason)).collect();
    reasons.join("; ")
}

/// Those who shall race and are there; who isn't is named.
fn contestants(arguments: &Arguments) -> anyhow::Result<Vec<Contestant>> {
    let mut all = Vec::new();
    for edge in arguments.edges.iter().filter(|edge| arguments.takes_part(&edge.name)) {
        let contestant = Contestant::edge(edge, &arguments.edge_config);
        ensure!(
            all.iter().all(|other: &Contestant| other.name != edge.name),
            "two edges are named {}",
            edge.name
        );
        if contestant.exists() {
            all.push(contestant);
        } else {
            let path = contestant.binary().display();
            terminal::complain(&format!(
                "{}: no {path}; build it: cargo build --profile dist -p edge",
                edge.name
            ));
        }
    }
    for (kind, peer) in Contestant::peers(arguments.envoy.as_deref()) {
        match peer {
            _ if !arguments.takes_part(kind.name()) => {}
            Some(peer) => all.push(peer),
            None => terminal::complain(&format!("{}: not here; perf/race-peers.sh installs it", kind.name())),
        }
    }
    for name in &arguments.only {
        if all.iter().all(|contestant| contestant.name != *name) {
            terminal::complain(&format!("{name}: takes no part"));
        }
    }
    ensure!(!all.is_empty(), "nobody is here to race");
    Ok(all)
}

/// Those whose load can be made.
fn scenarios(arguments: &Arguments) -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = arguments.scenarios();
    scenarios.retain(|scenario| match scenario.tool() {
        Some((tool, package)) if in_path(tool).is_none() => {
            terminal::complain(&format!("{}: needs {tool}: apt-get install {package}", scenario.name()));
            false
        }
        _ => true,
    });
    ensure!(!scenarios.is_empty(), "no scenario can be run");
    Ok(scenarios)
}

/// Starts all and keeps those that do what the policy says.
async fn line_up(
    contestants: &[Contestant],
    policy: Policy,
    ground: &Ground,
    race: &mut Race,
) -> Vec<Runner> {
    let mut runners = Vec::new();
    for contestant in contestants {
        let ready = async {
            let mut runner = Runner::start(contestant, policy, ground)?;
            check::check(&mut runner, ground).await?;
            let idle_bytes = runner.memory()?;
            anyhow::Ok((runner, idle_bytes))
        };
        match ready.await {
            Ok((runner, idle_bytes)) => {
                let contestant = contestant.name.clone();
                race.memory.push(Memory { contestant, policy, idle_bytes, end_bytes: None });
                runners.push(runner);
            }
            Err(error) => give_up(&contestant.name, policy, &error, race),
        }
    }
    runners
}

fn give_up(contestant: &str, policy: Policy, error: &anyhow::Error, race: &mut Race) {
    let reason = format!("{error:#}");
    terminal::complain(&format!("{contestant}, {} policy: out of the race: {reason}", policy.name()));
    race.out.push(Out { contestant: contestant.to_owned(), policy: Some(policy), reason });
}

/// Measures all of a policy's contestants in turns. Who fails is out from then on.
async fn run_rounds(
    arguments: &Arguments,
    scenarios: &[Scenario],
    ground: &Ground,
    mut runners: Vec<Runner>,
    race: &mut Race,
) -> anyhow::Result<()> {
    let mut rates = Vec::new();
    for &scenario in scenarios {
        // What was measured with another policy is told even if nobody is left with this one.
        let Some(rate) = warm_up(arguments, scenario, ground, &mut runners, race).await else {
            return Ok(());
        };
        rates.push((scenario, rate));
        race.series.extend(runners.iter().map(|runner| new_series(runner, scenario)));
    }
    let length = Duration::from_secs(arguments.seconds);
    for number in 0..arguments.rounds {
        terminal::complain(&format!("round {} of {}", number + 1, arguments.rounds));
        for &(scenario, rate) in &rates {
            for name in order(&runners, number.into()) {
                let Some(index) = runners.iter().position(|runner| runner.name == name) else { continue };
                match measure::measure(&runners[index], ground, scenario, rate, length).await {
                    Ok(round) => series_of(&runners[index], scenario, race)?.rounds.push(round),
                    Err(error) => {
                        let runner = runners.remove(index);
                        give_up(&name, runner.policy, &error.context(scenario.name()), race);
                    }
                }
            }
        }
    }
    for runner in &runners {
        let mine = |memory: &&mut Memory| memory.contestant == runner.name && memory.policy == runner.policy;
        if let Some(memory) = race.memory.iter_mut().find(mine) {
            memory.end_bytes = runner.memory().ok();
        }
    }
    Ok(())
}

fn series_of<'a>(runner: &Runner, scenario: Scenario, race: &'a mut Race) -> anyhow::Result<&'a mut Series> {
    let mine = |series: &&mut Series| {
        series.contestant == runner.name && (series.policy, series.scenario) == (runner.policy, scenario)
    };
    race.series.iter_mut().find(mine).context("a series of each")
}

fn new_series(runner: &Runner, scenario: Scenario) -> Series {
    Series {
        contestant: runner.name.clone(),
        kind: runner.kind,
        policy: runner.policy,
        scenario,
        token: (runner.policy == Policy::Full).then(|| runner.kind.algorithm()),
        rounds: Vec::new(),
    }
}

/// Loads all for the first time and says what the fixed rate shall be; none if nobody is left.
async fn warm_up(
    arguments: &Arguments,
    scenario: Scenario,
    ground: &Ground,
    runners: &mut Vec<Runner>,
    race: &mut Race,
) -> Option<f64> {
    let length = WARM_UP.min(Duration::from_secs(arguments.seconds));
    let mut speeds = Vec::new();
    let mut out = Vec::new();
    for runner in runners.iter() {
        let loaded = async {
            let count = load::full(runner, ground, scenario, length).await?;
            runner.check_log(count.done, ground.access_log).await?;
            runner.empty_log()?;
            anyhow::Ok(count.per_second)
        };
        match loaded.await {
            Ok(speed) => speeds.push((runner.kind, speed)),
            Err(error) => {
                give_up(&runner.name, runner.policy, &error.context(scenario.name()), race);
                out.push(runner.name.clone());
            }
        }
    }
    runners.retain(|runner| !out.contains(&runner.name));
    let slowest = slowest(&speeds)?;
    #[expect(clippy::cast_precision_loss, reason = "a part of a hundred")]
    let share = arguments.rate as f64 / 100.0;
    Some((slowest * share).max(1.0))
}

/// Of nginx and the edges; of all if none of them is there.
fn slowest(speeds: &[(Kind, f64)]) -> Option<f64> {
    let least = |of: &mut dyn Iterator<Item = f64>| of.min_by(f64::total_cmp);
    let rated = |kind: Kind| matches!(kind, Kind::Edge | Kind::Nginx);
    least(&mut speeds.iter().filter(|(kind, _)| rated(*kind)).map(|(_, speed)| *speed))
        .or_else(|| least(&mut speeds.iter().map(|(_, speed)| *speed)))
}

/// Another order each round: each begins once, and then all over backwards, so that nobody always follows the same.
fn order(runners: &[Runner], round: usize) -> Vec<String> {
    let names: Vec<String> = runners.iter().map(|runner| runner.name.clone()).collect();
    turn(names, round)
}

fn turn<T>(mut all: Vec<T>, round: usize) -> Vec<T> {
    let number = all.len().max(1);
    if !all.is_empty() {
        all.rotate_left(round % number);
    }
    if round / number % 2 == 1 {
        all.reverse();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_has_another_order() {
        let orders: Vec<Vec<char>> = (0..6).map(|round| turn(vec!['a', 'b', 'c'], round)).collect();
        assert_eq!(orders[0], ['a', 'b', 'c']);
        assert_eq!(orders[1], ['b', 'c', 'a']);
        assert_eq!(orders[3], ['c', 'b', 'a']);
        let different: std::collections::BTreeSet<_> = orders.iter().collect();
        assert_eq!(different.len(), 6);
        assert_eq!(turn(Vec::<char>::new(), 3), Vec::<char>::new());
    }

    #[test]
    fn the_rate_is_that_of_the_slower_of_nginx_and_the_edges() {
        let speeds = [(Kind::Edge, 3.0), (Kind::Nginx, 2.0), (Kind::Envoy, 1.0)];
        assert_eq!(slowest(&speeds), Some(2.0));
        assert_eq!(slowest(&speeds[2..]), Some(1.0));
        assert_eq!(slowest(&[]), None);
    }
}
