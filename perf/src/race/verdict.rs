//! How contestants compare, and whether the goals are met.

use serde::Serialize;

use crate::race::contestants::{Kind, Policy};
use crate::race::measure::Round;
use crate::race::options::Scenario;
use crate::race::tokens::Algorithm;
use crate::statistics::{Ratio, median};

/// One contestant's rounds of a policy and a scenario.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Series {
    pub(super) contestant: String,
    pub(super) kind: Kind,
    pub(super) policy: Policy,
    pub(super) scenario: Scenario,
    /// Of the tokens that it verifies.
    pub(super) token: Option<Algorithm>,
    pub(super) rounds: Vec<Round>,
}

/// A figure of a round.
pub(super) type Figure = fn(&Round) -> Option<f64>;

pub(super) const PER_SECOND: Figure = |round| Some(round.count.per_second);
pub(super) const CPU: Figure = |round| round.cpu_us;
pub(super) const UPSTREAM_CPU: Figure = |round| round.upstream_cpu_us;
pub(super) const P50: Figure = |round| round.pace.p50_ms;
pub(super) const P99: Figure = |round| round.pace.p99_ms;

impl Series {
    /// None if a round has none.
    fn figures(&self, figure: Figure) -> Option<Vec<f64>> {
        self.rounds.iter().map(figure).collect()
    }

    pub(super) fn median(&self, figure: Figure) -> Option<f64> {
        self.figures(figure).as_deref().and_then(median)
    }

    /// To another's, round by round.
    pub(super) fn ratio(&self, to: &Self, figure: Figure) -> Option<Ratio> {
        Ratio::of(&self.figures(figure)?, &to.figures(figure)?)
    }

    pub(super) fn failed(&self) -> u64 {
        self.rounds.iter().map(|round| round.count.failed + round.pace.failed).sum()
    }
}

/// The series of the same policy and scenario by somebody else.
pub(super) fn rival<'a>(all: &'a [Series], of: &Series, name: &str) -> Option<&'a Series> {
    all.iter()
        .find(|other| other.contestant == name && (other.policy, other.scenario) == (of.policy, of.scenario))
}

/// What the project wants of an edge.
struct Aim {
    policy: Policy,
    against: &'static str,
    what: &'static str,
    figure: Figure,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }
}

const AIMS: [Aim; 4] = [
    Aim {
        policy: Policy::None,
        against: "nginx",
        what: "requests/s",
        figure: PER_SECOND,
        bound: Bound::AtLeast(0.95),
    },
    Aim { policy: Policy::None, against: "nginx", what: "p99", figure: P99, bound: Bound::AtMost(1.0) },
    Aim {
        policy: Policy::Full,
        against: "nginx",
        what: "requests/s",
        figure: PER_SECOND,
        bound: Bound::AtLeast(2.0),
    },
    Aim {
        policy: Policy::Full,
        against: "envoy",
        what: "requests/s",
        figure: PER_SECOND,
        bound: Bound::AtLeast(2.0),
    },
];
/// Where the goals hold.
const SCENARIOS: [Scenario; 2] = [Scenario::H1, Scenario::H2];

/// A goal, and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Goal {
    pub(super) edge: String,
    pub(super) policy: Policy,
    pub(super) scenario: Scenario,
    pub(super) against: &'static str,
    pub(super) what: &'static str,
    pub(super) bound: Bound,
    pub(super) ratio: Option<Ratio>,
    /// In how many rounds, of how many, the bound held.
    pub(super) held: usize,
    pub(super) rounds: usize,
    /// Requests of both that failed: what answers wrongly isn't quick.
    pub(super) failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Pass,
    Miss,
    /// Something is missing, or failed.
    CannotTell,
}

impl Goal {
    /// By the median of the rounds.
    pub(super) fn verdict(&self) -> Verdict {
        match self.ratio {
            Some(ratio) if self.failed == 0 && self.bound.holds(ratio.median) => Verdict::Pass,
            Some(_) if self.failed == 0 => Verdict::Miss,
            _ => Verdict::CannotTell,
        }
    }
}

/// The goals of each edge, as far as its scenarios and policies were measured, against those who raced at all.
pub(super) fn goals(all: &[Series]) -> Vec<Goal> {
    let edges = all.iter().filter(|series| series.kind == Kind::Edge && SCENARIOS.contains(&series.scenario));
    let of_edge = |edge: &Series| {
        let races = |name: &str| all.iter().any(|series| series.contestant == name);
        let aims = AIMS.iter().filter(|aim| aim.policy == edge.policy && races(aim.against));
        aims.map(|aim| goal(all, edge, aim)).collect::<Vec<_>>()
    };
    edges.flat_map(of_edge).collect()
}

fn goal(all: &[Series], edge: &Series, aim: &Aim) -> Goal {
    let rival = rival(all, edge, aim.against);
    let figure = |round| (aim.figure)(round);
    let ratios = rival.map_or_else(Vec::new, |rival| {
        let pairs = edge.rounds.iter().zip(&rival.rounds);
        pairs.filter_map(|(ours, theirs)| Some(figure(ours)? / figure(theirs)?)).collect()
    });
    Goal {
        edge: edge.contestant.clone(),
        policy: edge.policy,
        scenario: edge.scenario,
        against: aim.against,
        what: aim.what,
        bound: aim.bound,
        ratio: rival.and_then(|rival| edge.ratio(rival, aim.figure)),
        held: ratios.iter().filter(|&&ratio| aim.bound.holds(ratio)).count(),
        rounds: edge.rounds.len(),
        failed: edge.failed() + rival.map_or(0, Series::failed),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::race::load::{Count, Pace};

    /// Rounds with these requests a second, and as many milliseconds of p99.
    pub(in crate::race) fn series(kind: Kind, policy: Policy, per_second: &[f64]) -> Series {
        let round = |&per_second: &f64| Round {
            count: Count { done: 1, failed: 0, per_second },
            cpu_us: Some(1.0),
            upstream_cpu_us: None,
            cpus: 1.0,
            others_cpus: 0.0,
            pace: Pace {
                rate: 1.0,
                due: 1,
                failed: 0,
                p50_ms: None,
                p99_ms: Some(per_second),
                max_ms: None,
                error: None,
            },
        };
        let rounds = per_second.iter().map(round).collect();
        let (contestant, scenario) = (kind.name().to_owned(), Scenario::H1);
        Series { contestant, kind, policy, scenario, token: None, rounds }
    }

    #[test]
    fn a_goal_is_met_by_the_median_of_ratios_within_rounds() {
        let edge = series(Kind::Edge, Policy::Full, &[10.0, 50.0, 40.0]);
        let mut all = vec![edge, series(Kind::Nginx, Policy::Full, &[10.0, 20.0, 20.0])];
        assert_eq!(goals(&all).len(), 1);
        // Who raced, but was out with this policy, can't be compared with.
        all.push(series(Kind::Envoy, Policy::None, &[10.0, 20.0, 20.0]));
        let goals = goals(&all);
        assert_eq!(goals.len(), 2);
        let nginx = &goals[0];
        assert_eq!(nginx.ratio.expect("a ratio"), Ratio { median: 2.0, least: 1.0, most: 2.5 });
        assert_eq!((nginx.verdict(), nginx.held, nginx.rounds), (Verdict::Pass, 2, 3));
        assert_eq!((goals[1].against, goals[1].verdict()), ("envoy", Verdict::CannotTell));
    }

    #[test]
    fn a_latency_must_not_be_above_the_others() {
        let edge = series(Kind::Edge, Policy::None, &[11.0]);
        let all = [edge, series(Kind::Nginx, Policy::None, &[10.0])];
        let verdicts: Vec<_> = goals(&all).iter().map(|goal| (goal.what, goal.verdict())).collect();
        assert_eq!(verdicts, [("requests/s", Verdict::Pass), ("p99", Verdict::Miss)]);
    }

    #[test]
    fn failed_requests_leave_a_goal_open() {
        let mut edge = series(Kind::Edge, Policy::None, &[11.0]);
        edge.rounds[0].count.failed = 1;
        let all = [edge, series(Kind::Nginx, Policy::None, &[10.0])];
        assert!(goals(&all).iter().all(|goal| goal.verdict() == Verdict::CannotTell));
    }

    #[test]
    fn a_figure_that_a_round_lacks_has_no_median() {
        let edge = series(Kind::Edge, Policy::None, &[11.0]);
        assert_eq!(edge.median(UPSTREAM_CPU), None);
        assert_eq!(edge.median(PER_SECOND), Some(11.0));
    }
}
