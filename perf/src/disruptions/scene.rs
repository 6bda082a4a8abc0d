//! A running edge under load, and what is noticed of one disruption.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::disruptions::actions::{Done, carry_out};
use crate::disruptions::edge::Edge;
use crate::disruptions::figures::{Expected, Gets, Sockets};
use crate::disruptions::ground::Ground;
use crate::disruptions::load::{Amount, Load};
use crate::disruptions::options::{Arguments, Disruption, EdgeArguments};
use crate::disruptions::report::Run;

/// Counted with a disruption after its end.
const AFTER: Duration = Duration::from_secs(5);
/// Until all WebSockets are open.
const OPENING_PATIENCE: Duration = Duration::from_secs(60);

/// A running edge under load.
pub(super) struct Scene {
    // In this order they go: clients, edge, servers.
    pub(super) load: Load,
    pub(super) edge: Edge,
    ground: Ground,
    sockets: usize,
}

impl Scene {
    /// Starts all of it; returns once all WebSockets are open.
    pub(super) async fn set(
        arguments: &EdgeArguments,
        socket_life: Option<Duration>,
    ) -> anyhow::Result<Self> {
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
    pub(super) async fn run(
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
