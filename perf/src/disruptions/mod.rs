//! `perf disruptions`: what clients notice while an operator or fate does something to an edge that runs. `perf soak`: what
//! the edge spends while nobody does.
//!
//! `mod → {report, soak} → {actions → edge → {configuration, admin}, figures} → ground → upstream → load → options`

mod actions;
mod admin;
mod configuration;
mod edge;
mod figures;
mod ground;
mod load;
mod options;
mod report;
mod soak;
mod upstream;

use std::time::Duration;

use anyhow::bail;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::disruptions::actions::{Done, carry_out};
use crate::disruptions::edge::Edge;
use crate::disruptions::figures::{Expected, Gets, Sockets};
use crate::disruptions::ground::Ground;
use crate::disruptions::load::{Amount, Load};
use crate::disruptions::options::{Disruption, EdgeArguments};
use crate::disruptions::report::{Report, Run, Skipped};
use crate::{open_files, terminal};

pub(crate) use options::{Arguments, SoakArguments};
pub(crate) use upstream::{Arguments as UpstreamArguments, serve as serve_upstream};

/// Counted with a disruption after its end.
const AFTER: Duration = Duration::from_secs(5);
/// Until all WebSockets are open.
const OPENING_PATIENCE: Duration = Duration::from_secs(60);
/// Of this process's threads, those that ask.
const THREADS: usize = 2;

/// Runs the disruptions and prints what was noticed. All that was started ends with it, however it ends.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.edge.check()?;
    let report = until_told_to_stop(disrupt(arguments))?;
    report::print(&report, arguments)
}

/// Runs the load for a long time and prints what the edge spent.
pub(crate) fn soak(arguments: &SoakArguments) -> anyhow::Result<()> {
    arguments.edge.check()?;
    let report = until_told_to_stop(soak::soak(arguments))?;
    soak::print(&report, arguments)
}

fn until_told_to_stop<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    open_files::raise()?;
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupted, mut terminated) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            done = work => done,
            _ = interrupted.recv() => bail!("stopped"),
            _ = terminated.recv() => bail!("stopped"),
        }
    })
}

async fn disrupt(arguments: &Arguments) -> anyhow::Result<Report> {
    let (rate, sockets) = (arguments.edge.rate, arguments.edge.sockets);
    let mut scene = Scene::set(&arguments.edge, None).await?;
    sleep(arguments.warm_up()).await;
    let mut report = Report { rate, sockets, ..Report::default() };
    for &disruption in arguments.disruptions() {
        for run in 1..=arguments.runs {
            match scene.run(disruption, run, arguments).await {
                Ok(Ok(run)) => {
                    terminal::complain(&format!("{} {}: done", disruption.name(), run.run));
                    report.runs.push(run);
                }
                Ok(Err(reason)) => {
                    report.skipped.push(Skipped { disruption, reason });
                    break;
                }
                // What was measured is told all the same.
                Err(error) => {
                    report.ended_by = Some(format!("{} {run}: {error:#}", disruption.name()));
                    return Ok(report);
                }
            }
        }
    }
    Ok(report)
}

/// A running edge under load.
struct Scene {
    // In this order they go: clients, edge, servers.
    load: Load,
    edge: Edge,
    ground: Ground,
    sockets: usize,
}

impl Scene {
    /// Starts all of it; returns once all WebSockets are open.
    async fn set(arguments: &EdgeArguments, socket_life: Option<Duration>) -> anyhow::Result<Self> {
        let ground = Ground::prepare()?;
        let edge = Edge::start(arguments, &ground).await?;
        let amount = Amount {
            rate: arguments.rate,
            patience: arguments.timeout(),
            sockets: arguments.sockets,
            socket_life,
        };
        let load = Load::start(&edge.door, amount);
        let mut scene = Self { load, edge, ground, sockets: arguments.sockets };
        scene.wait_for_sockets().await?;
        Ok(scene)
    }

    async fn wait_for_sockets(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.load.record.open_sockets() < self.sockets {
            let open = self.load.record.open_sockets();
            self.edge.check_runs()?;
            if began.elapsed() > OPENING_PATIENCE {
                let ends = self.load.record.take(Instant::now()).1;
                let why = ends.last().map_or("none ended".into(), |end| end.how.to_string());
                bail!("{open} of {} WebSockets are open; the last end: {why}", self.sockets);
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Does it once, or says why it can't be done.
    async fn run(
        &mut self,
        disruption: Disruption,
        run: u16,
        arguments: &Arguments,
    ) -> anyhow::Result<Result<Run, String>> {
        self.wait_for_sockets().await?;
        let settled = Instant::now();
        sleep(arguments.settle()).await;
        let began = Instant::now();
        let open = self.load.record.open_sockets();
        let drain = Duration::from_secs(arguments.edge.drain_seconds.into());
        let done = carry_out(disruption, run.into(), drain, &mut self.ground, &mut self.edge).await?;
        let expected = match done {
            Done::Carried(expected) => expected,
            Done::Skipped(reason) => return Ok(Err(reason)),
        };
        let took_seconds = began.elapsed().as_secs_f64();
        sleep(AFTER).await;
        let until = Instant::now();
        // Ends by itself: a GET has its time.
        while !self.load.record.is_settled(until) {
            sleep(Duration::from_millis(50)).await;
        }
        self.edge.check_runs()?;
        let (samples, ends) = self.load.record.take(until);
        // What was on its way is disrupted too.
        let (before, during): (Vec<_>, Vec<_>) =
            samples.into_iter().partition(|sample| sample.due + sample.latency < began);
        let (ends_before, ends): (Vec<_>, Vec<_>) = ends.into_iter().partition(|end| end.at < began);
        Ok(Ok(Run {
            disruption,
            run,
            took_seconds,
            before: Gets::of(&before, settled),
            sockets_before: Sockets::of(open, &ends_before, Expected::default()),
            during: Gets::of(&during, settled),
            sockets: Sockets::of(open, &ends, expected),
        }))
    }
}
