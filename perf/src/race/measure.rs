//! One contestant, one scenario, one round: what it did at full load, what that cost, and its latency at the fixed rate.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use crate::process;
use crate::race::ground::Ground;
use crate::race::load::{self, Count, Pace};
use crate::race::options::Scenario;
use crate::race::runner::Runner;

/// What was measured in a round.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    #[serde(flatten)]
    pub(super) count: Count,
    /// Of the contestant, user and system, children included, in microseconds a request.
    pub(super) cpu_us: Option<f64>,
    /// Of the servers behind it, likewise: with what they do in its place.
    pub(super) upstream_cpu_us: Option<f64>,
    /// That the contestant kept busy.
    pub(super) cpus: f64,
    /// That whoever has no part in the race kept busy meanwhile.
    pub(super) others_cpus: f64,
    pub(super) pace: Pace,
}

/// Measures a round.
pub(super) async fn measure(
    runner: &Runner,
    ground: &Ground,
    scenario: Scenario,
    rate: f64,
    length: Duration,
) -> anyhow::Result<Round> {
    let before = Meter::read(runner, ground)?;
    let count = load::full(runner, ground, scenario, length).await.context("at full load")?;
    let spent = Meter::read(runner, ground)?.since(&before);
    runner.empty_log()?;
    let pace = load::paced(runner, ground, scenario, rate, length).await.context("at the fixed rate")?;
    runner.empty_log()?;
    Ok(Round {
        count,
        cpu_us: each(spent.contestant, count.done),
        upstream_cpu_us: each(spent.upstreams, count.done),
        cpus: spent.contestant.as_secs_f64() / spent.took.as_secs_f64(),
        others_cpus: spent.others.as_secs_f64() / spent.took.as_secs_f64(),
        pace,
    })
}

/// CPU time that was used until now, and when that is.
struct Meter {
    contestant: Duration,
    upstreams: Duration,
    /// All but this process and those below it: contestants, servers, load.
    others: Duration,
    at: Instant,
}

struct Spent {
    contestant: Duration,
    upstreams: Duration,
    others: Duration,
    took: Duration,
}

impl Meter {
    fn read(runner: &Runner, ground: &Ground) -> anyhow::Result<Self> {
        Ok(Self {
            contestant: process::cpu_time_with_children(runner.pid())?,
            upstreams: process::cpu_time_with_children(ground.upstreams.pid())?,
            others: process::cpu_time_of_others(std::process::id())?,
            at: Instant::now(),
        })
    }

    fn since(&self, before: &Self) -> Spent {
        Spent {
            contestant: self.contestant.saturating_sub(before.contestant),
            upstreams: self.upstreams.saturating_sub(before.upstreams),
            // Less than before, when one of them has ended that nobody waited for.
            others: self.others.saturating_sub(before.others),
            took: self.at - before.at,
        }
    }
}

/// In microseconds.
fn each(time: Duration, requests: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts of a minute's requests")]
    let each = time.as_secs_f64() * 1_000_000.0 / requests as f64;
    each.is_finite().then_some(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_has_no_cost() {
        assert_eq!(each(Duration::from_millis(1), 0), None);
        assert_eq!(each(Duration::from_millis(1), 10), Some(100.0));
    }
}
