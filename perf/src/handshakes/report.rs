//! How servers compare, for people and for programs.

use std::time::Duration;

use serde::Serialize;

use crate::handshakes::Kind;
use crate::handshakes::client::Count;
use crate::statistics::{Ratio, median};
use crate::{table, terminal};

/// One server in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Round {
    per_second: f64,
    /// Of the server, in microseconds a handshake; none if its processes weren't named.
    cpu_us: Option<f64>,
    full: u64,
    resumed: u64,
    failed: u64,
}

impl Round {
    pub(super) fn new(count: Count, took: Duration, cpu: Option<Duration>) -> Self {
        let Count { full, resumed, failed } = count;
        #[expect(clippy::cast_precision_loss, reason = "counts of a minute's handshakes")]
        let done = (full + resumed) as f64;
        Self {
            per_second: done / took.as_secs_f64(),
            cpu_us: cpu.map(|cpu| cpu.as_secs_f64() * 1_000_000.0 / done).filter(|us| us.is_finite()),
            full,
            resumed,
            failed,
        }
    }
}

/// A server's rounds of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    server: String,
    kind: Kind,
    pub(super) rounds: Vec<Round>,
}

impl Series {
    pub(super) fn new(server: &str, kind: Kind) -> Self {
        Self { server: server.to_owned(), kind, rounds: Vec::new() }
    }

    fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.per_second).collect()
    }

    /// None if a round has no such figure.
    fn cpu(&self) -> Option<Vec<f64>> {
        self.rounds.iter().map(|round| round.cpu_us).collect()
    }

    fn sum(&self, of: fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(of).sum()
    }
}

/// A server's figures of one kind, and how they compare to those of the server that was named last.
#[derive(Debug, Serialize)]
struct Comparison<'a> {
    #[serde(flatten)]
    series: &'a Series,
    per_second_median: Option<f64>,
    per_second_ratio: Option<Ratio>,
    cpu_us_median: Option<f64>,
    cpu_us_ratio: Option<Ratio>,
}

fn compare<'a>(all: &'a [Series]) -> Vec<Comparison<'a>> {
    let compare = |series: &'a Series| {
        let last = all.iter().rev().find(|other| other.kind == series.kind)?;
        let cpu = series.cpu();
        Some(Comparison {
            series,
            per_second_median: median(&series.rates()),
            per_second_ratio: Ratio::of(&series.rates(), &last.rates()),
            cpu_us_median: cpu.as_deref().and_then(median),
            cpu_us_ratio: cpu.zip(last.cpu()).and_then(|(ours, theirs)| Ratio::of(&ours, &theirs)),
        })
    };
    all.iter().filter_map(compare).collect()
}

const HEAD: [&str; 8] = ["server", "kind", "a second", "ratio", "CPU µs", "ratio", "resumed", "failed"];

/// Prints all of them.
pub(super) fn print(all: &[Series], json: bool) -> anyhow::Result<()> {
    let compared = compare(all);
    if json {
        terminal::say(&serde_json::to_string_pretty(&compared)?);
        return Ok(());
    }
    let cells: Vec<Vec<String>> = compared.iter().map(cells).collect();
    table::lay_out(&HEAD, &cells).iter().for_each(|line| terminal::say(line));
    terminal::say("");
    terminal::say(
        "Medians of all rounds; ratios to the server that was named last, round by round: median (least–most).",
    );
    Ok(())
}

fn cells(compared: &Comparison<'_>) -> Vec<String> {
    let series = compared.series;
    let (full, resumed) = (series.sum(|round| round.full), series.sum(|round| round.resumed));
    vec![
        series.server.clone(),
        match series.kind {
            Kind::Full => "full".to_owned(),
            Kind::Resumed => "resumed".to_owned(),
        },
        whole(compared.per_second_median),
        ratio(compared.per_second_ratio),
        whole(compared.cpu_us_median),
        ratio(compared.cpu_us_ratio),
        format!("{resumed} of {}", full + resumed),
        series.sum(|round| round.failed).to_string(),
    ]
}

fn whole(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

fn ratio(ratio: Option<Ratio>) -> String {
    ratio.map_or_else(
        || "-".to_owned(),
        |Ratio { median, least, most }| format!("{median:.2} ({least:.2}–{most:.2})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(server: &str, per_second: [u64; 3]) -> Series {
        let round = |full| {
            let cpu = Some(Duration::from_micros(100 * full));
            Round::new(Count { full, resumed: 0, failed: 0 }, Duration::from_secs(1), cpu)
        };
        Series { server: server.into(), kind: Kind::Full, rounds: per_second.map(round).into() }
    }

    #[test]
    fn servers_are_compared_to_the_last_of_the_same_kind() {
        let mut all = vec![series("edge", [500, 900, 1000]), series("nginx", [1000, 1000, 1000])];
        all.push(Series::new("nginx", Kind::Resumed));
        let compared = compare(&all);
        assert_eq!(compared[0].per_second_median, Some(900.0));
        let expected = Ratio { median: 0.9, least: 0.5, most: 1.0 };
        assert_eq!(compared[0].per_second_ratio, Some(expected));
        assert_eq!(compared[1].per_second_ratio.map(|ratio| ratio.median), Some(1.0));
        assert!((compared[0].cpu_us_median.expect("a figure") - 100.0).abs() < 0.01);
        assert_eq!(compared[2].per_second_median, None);
    }

    #[test]
    fn a_round_without_handshakes_has_no_cpu_each() {
        let round = Round::new(Count::default(), Duration::from_secs(1), Some(Duration::from_secs(1)));
        assert_eq!(round.cpu_us, None);
    }
}
