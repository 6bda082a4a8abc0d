//! `perf disruptions`: what clients notice while an operator or fate does something to an edge that runs. `perf soak`: what
//! the edge spends while nobody does. `perf sockets`: what WebSockets that come and go leave behind.
//!
//! `mod → {churn, soak} → scene → {actions → edge → {ground → upstream, admin, configuration}, report → figures} → load → options`

mod actions;
mod admin;
mod churn;
mod configuration;
mod edge;
mod figures;
mod ground;
mod load;
mod options;
mod report;
mod scene;
mod soak;
mod upstream;

use anyhow::bail;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::disruptions::report::{Report, Skipped};
use crate::disruptions::scene::Scene;
use crate::{open_files, terminal};

pub(crate) use options::{Arguments, SoakArguments, SocketsArguments};
pub(crate) use upstream::{Arguments as UpstreamArguments, serve as serve_upstream};

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

/// Opens and closes WebSockets and prints what the edge's memory is.
pub(crate) fn sockets(arguments: &SocketsArguments) -> anyhow::Result<()> {
    arguments.edge.check()?;
    let report = until_told_to_stop(churn::churn(arguments))?;
    churn::print(&report, arguments)
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
