//! What the rounds came to, as a table or as JSON.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::load::{Pace, Record};
use crate::statistics::Ratio;
use crate::{table, terminal};

/// All rounds.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What all sessions took.
    pub(super) redis_bytes: u64,
    pub(super) rounds: Vec<Round>,
}

/// One round.
#[derive(Debug)]
pub(super) struct Round {
    /// The expired sessions lie in Redis, and nobody takes them out.
    pub(super) before: Record,
    /// From the job's beginning to its end.
    pub(super) meanwhile: Record,
    pub(super) purge: Duration,
}

/// What the rounds came to together.
#[derive(Debug, Serialize)]
struct Summary {
    redis_bytes: u64,
    purge_seconds: f64,
    before: Pace,
    meanwhile: Pace,
    /// Of each round's p99.
    p99_ratio: Ratio,
    /// Of each round's median.
    p50_ratio: Ratio,
}

impl Report {
    fn sum_up(&self) -> anyhow::Result<Summary> {
        let (mut before, mut meanwhile) = (Record::default(), Record::default());
        let (mut p50s, mut p99s) = ([vec![], vec![]], [vec![], vec![]]);
        for round in &self.rounds {
            before.add(&round.before);
            meanwhile.add(&round.meanwhile);
            for (side, record) in [&round.meanwhile, &round.before].into_iter().enumerate() {
                let pace = record.sum_up()?;
                p50s[side].push(pace.p50_ms);
                p99s[side].push(pace.p99_ms);
            }
        }
        let ratio = |[ours, theirs]: &[Vec<f64>; 2]| Ratio::of(ours, theirs).context("no ratio");
        Ok(Summary {
            redis_bytes: self.redis_bytes,
            purge_seconds: self.rounds.iter().map(|round| round.purge.as_secs_f64()).sum(),
            before: before.sum_up()?,
            meanwhile: meanwhile.sum_up()?,
            p99_ratio: ratio(&p99s)?,
            p50_ratio: ratio(&p50s)?,
        })
    }

    pub(super) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let summary = self.sum_up()?;
        if as_json {
            terminal::say(&serde_json::to_string_pretty(&summary)?);
            return Ok(());
        }
        let head = ["", "requests", "failed", "p50 ms", "p99 ms", "max ms", "Redis p99", ""];
        let purge = format!("purged in {:.1} s", summary.purge_seconds);
        let rows =
            [row("before", &summary.before, String::new()), row("meanwhile", &summary.meanwhile, purge)];
        table::lay_out(&head, &rows).iter().for_each(|line| terminal::say(line));
        for (name, Ratio { median, least, most }) in [("p50", summary.p50_ratio), ("p99", summary.p99_ratio)]
        {
            let rounds = self.rounds.len();
            terminal::say(&format!("{name}, {rounds} rounds: {median:.2} times ({least:.2} to {most:.2})"));
        }
        Ok(())
    }
}

fn row(name: &str, pace: &Pace, end: String) -> Vec<String> {
    let error = pace.error.as_ref().map_or(end, |error| format!("first failure: {error}"));
    let figures = [pace.p50_ms, pace.p99_ms, pace.max_ms, pace.redis_p99_ms].map(|ms| format!("{ms:.2}"));
    let [p50, p99, max, redis] = figures;
    vec![name.into(), pace.answered.to_string(), pace.failed.to_string(), p50, p99, max, redis, error]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_its_row() {
        let mut pace = Pace {
            answered: 10,
            failed: 0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            max_ms: 3.0,
            redis_p99_ms: 2.5,
            error: None,
        };
        assert_eq!(row("1", &pace, "quick".into())[4..], ["2.00", "3.00", "2.50", "quick"]);
        pace.error = Some("given up".into());
        assert_eq!(row("1", &pace, "quick".into())[7], "first failure: given up");
    }
}
