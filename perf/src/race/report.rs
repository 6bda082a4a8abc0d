//! The race, for people and for programs.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use serde::Serialize;

use crate::race::contestants::Policy;
use crate::race::options::{Arguments, Scenario};
use crate::race::verdict::{
    Bound, CPU, Figure, Goal, P50, P99, PER_SECOND, Series, UPSTREAM_CPU, Verdict, goals, rival,
};
use crate::statistics::{Ratio, median};
use crate::{table, terminal};

/// CPUs that others kept busy. More, and the race says more of them than of the contestants.
const NOISE_CPUS: f64 = 0.1;

/// All that came of a race.
#[derive(Debug, Serialize)]
pub(super) struct Race {
    pub(super) conditions: Conditions,
    pub(super) series: Vec<Series>,
    pub(super) memory: Vec<Memory>,
    pub(super) out: Vec<Out>,
}

/// What a figure can't be read without.
#[derive(Debug, Serialize)]
pub(super) struct Conditions {
    cpus: usize,
    kernel: String,
    /// When it began: one minute, five, fifteen.
    load_average: String,
    rounds: u16,
    seconds: u64,
    rate_percent: u64,
    workers: u16,
    access_log: bool,
    token_cache: bool,
    versions: BTreeMap<String, String>,
    against: String,
}

impl Conditions {
    pub(super) fn now(arguments: &Arguments, versions: BTreeMap<String, String>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease"),
            load_average: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            rounds: arguments.rounds,
            seconds: arguments.seconds,
            rate_percent: arguments.rate,
            workers: arguments.workers,
            access_log: arguments.access_log(),
            token_cache: arguments.token_cache(),
            versions,
            against: arguments.against.clone(),
        }
    }
}

/// Of a contestant with a policy, in bytes; what processes share counts once.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) contestant: String,
    pub(super) policy: Policy,
    /// Before the first load.
    pub(super) idle_bytes: u64,
    /// After the last.
    pub(super) end_bytes: Option<u64>,
}

/// Who doesn't race, or no longer.
#[derive(Debug, Serialize)]
pub(super) struct Out {
    pub(super) contestant: String,
    pub(super) policy: Option<Policy>,
    pub(super) reason: String,
}

/// What programs get.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    race: &'a Race,
    /// CPUs that others kept busy, the median and the most of all rounds.
    others_cpus: Option<(f64, f64)>,
    /// Whether that is too much for a verdict to hold.
    is_noisy: bool,
    compared: Vec<Compared<'a>>,
    goals: Vec<Judged>,
}

/// A series in short, and how it compares to the series of whom ratios are to.
#[derive(Serialize)]
struct Compared<'a> {
    contestant: &'a str,
    policy: Policy,
    scenario: Scenario,
    per_second: Middle,
    cpu_us: Middle,
    upstream_cpu_us: Middle,
    p50_ms: Middle,
    p99_ms: Middle,
    failed: u64,
}

/// Of all rounds.
#[derive(Serialize)]
struct Middle {
    median: Option<f64>,
    ratio: Option<Ratio>,
}

impl<'a> Compared<'a> {
    fn new(race: &Race, series: &'a Series) -> Self {
        let against = rival(&race.series, series, &race.conditions.against);
        let middle = |figure: Figure| Middle {
            median: series.median(figure),
            ratio: against.and_then(|to| series.ratio(to, figure)),
        };
        Self {
            contestant: &series.contestant,
            policy: series.policy,
            scenario: series.scenario,
            per_second: middle(PER_SECOND),
            cpu_us: middle(CPU),
            upstream_cpu_us: middle(UPSTREAM_CPU),
            p50_ms: middle(P50),
            p99_ms: middle(P99),
            failed: series.failed(),
        }
    }
}

#[derive(Serialize)]
struct Judged {
    #[serde(flatten)]
    goal: Goal,
    verdict: Verdict,
}

/// Prints the race as it was asked for.
pub(super) fn print(race: &Race, arguments: &Arguments) -> anyhow::Result<()> {
    let document = Document::new(race);
    let json = serde_json::to_string_pretty(&document)?;
    if let Some(file) = &arguments.json_file {
        fs::write(file, format!("{json}\n")).with_context(|| file.display().to_string())?;
    }
    if arguments.json {
        terminal::say(&json);
    } else {
        text(&document).iter().for_each(|line| terminal::say(line));
    }
    Ok(())
}

impl<'a> Document<'a> {
    fn new(race: &'a Race) -> Self {
        let others: Vec<f64> =
            race.series.iter().flat_map(|one| one.rounds.iter().map(|round| round.others_cpus)).collect();
        let others_cpus = median(&others).zip(others.iter().copied().max_by(f64::total_cmp));
        let is_noisy = others_cpus.is_some_and(|(middle, _)| middle > NOISE_CPUS);
        let judged = goals(&race.series).into_iter().map(|goal| Judged { verdict: goal.verdict(), goal });
        let mut compared: Vec<Compared<'a>> =
            race.series.iter().map(|series| Compared::new(race, series)).collect();
        compared.sort_by_key(|one| (one.policy, one.scenario));
        Self { race, others_cpus, is_noisy, compared, goals: judged.collect() }
    }
}

const HEAD: [&str; 10] =
    ["", "requests/s", "ratio", "CPU µs", "ratio", "upstreams' µs", "p50 ms", "p99 ms", "ratio", "failed"];

fn text(document: &Document<'_>) -> Vec<String> {
    let race = document.race;
    let mut lines = Vec::new();
    for group in document.compared.chunk_by(|a, b| (a.policy, a.scenario) == (b.policy, b.scenario)) {
        let (policy, scenario) = (group[0].policy, group[0].scenario);
        let mut rounds = race.series.iter().filter(|one| (one.policy, one.scenario) == (policy, scenario));
        let rate = rounds.find_map(|series| series.rounds.first()).map_or(0.0, |round| round.pace.rate);
        lines.push(format!("{} policy, {}; latency at {rate:.0} requests/s", policy.name(), scenario.name()));
        let cells: Vec<Vec<String>> = group.iter().map(cells).collect();
        lines.extend(table::lay_out(&HEAD, &cells));
        lines.push(String::new());
    }
    lines.extend(memory(race));
    if !document.goals.is_empty() {
        lines.extend(document.goals.iter().map(|judged| goal(judged, document.is_noisy)));
        lines.push(String::new());
    }
    lines.extend(notes(race));
    lines.extend(noise(document));
    lines
}

fn cells(compared: &Compared<'_>) -> Vec<String> {
    vec![
        compared.contestant.to_owned(),
        number(compared.per_second.median, 0),
        range(compared.per_second.ratio),
        number(compared.cpu_us.median, 1),
        range(compared.cpu_us.ratio),
        number(compared.upstream_cpu_us.median, 1),
        number(compared.p50_ms.median, 2),
        number(compared.p99_ms.median, 2),
        range(compared.p99_ms.ratio),
        compared.failed.to_string(),
    ]
}

fn memory(race: &Race) -> Vec<String> {
    let mib = |bytes: u64| {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let mib = bytes as f64 / f64::from(1 << 20);
        format!("{mib:.1}")
    };
    let row = |memory: &Memory| {
        vec![
            memory.contestant.clone(),
            memory.policy.name().to_owned(),
            mib(memory.idle_bytes),
            memory.end_bytes.map_or_else(|| "-".to_owned(), mib),
            String::new(),
        ]
    };
    let rows: Vec<_> = race.memory.iter().map(row).collect();
    let mut lines = table::lay_out(&["memory, MiB", "policy", "idle", "end", ""], &rows);
    lines.push(String::new());
    lines
}

fn goal(judged: &Judged, is_noisy: bool) -> String {
    let goal = &judged.goal;
    let verdict = match (judged.verdict, is_noisy) {
        (Verdict::Pass, false) => "pass",
        (Verdict::Pass, true) => "pass?",
        (Verdict::Miss, false) => "miss",
        (Verdict::Miss, true) => "miss?",
        (Verdict::CannotTell, _) => "can't tell",
    };
    let bound = match goal.bound {
        Bound::AtLeast(bound) => format!("at least {bound}"),
        Bound::AtMost(bound) => format!("at most {bound}"),
    };
    let found = match goal.ratio {
        Some(ratio) => format!("{}, in {} of {} rounds", range(Some(ratio)), goal.held, goal.rounds),
        None => "not measured".to_owned(),
    };
    let failed = if goal.failed > 0 { format!("; {} requests failed", goal.failed) } else { String::new() };
    format!(
        "{verdict:<10}  {}, {} policy, {}: {} {bound} × {}'s: {found}{failed}",
        goal.edge,
        goal.policy.name(),
        goal.scenario.name(),
        goal.what,
        goal.against,
    )
}

/// What the tables have no room for.
fn notes(race: &Race) -> Vec<String> {
    let conditions = &race.conditions;
    let mut notes: Vec<String> =
        conditions.versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
    notes.push(format!(
        "{} rounds of {} s; ratios to {}, round by round: median (least–most); {} CPUs, {} threads each; access logs {}; \
         verified tokens {}.",
        conditions.rounds,
        conditions.seconds,
        conditions.against,
        conditions.cpus,
        conditions.workers,
        if conditions.access_log { "on" } else { "off" },
        if conditions.token_cache { "remembered by all who can" } else { "remembered by the edge alone" },
    ));
    let tokens =
        race.series.iter().filter_map(|series| Some((series.contestant.as_str(), series.token?.name())));
    let tokens: BTreeMap<&str, &str> = tokens.collect();
    if !tokens.is_empty() {
        let tokens: Vec<String> = tokens.iter().map(|(name, token)| format!("{name} {token}")).collect();
        notes.push(format!("Tokens: {}.", tokens.join(", ")));
    }
    for out in &race.out {
        let policy = out.policy.map_or_else(String::new, |policy| format!(", {} policy", policy.name()));
        notes.push(format!("{}{policy}: out of the race: {}", out.contestant, out.reason));
    }
    for series in &race.series {
        let mut errors = series.rounds.iter().filter_map(|round| round.pace.error.as_deref());
        if let Some(error) = errors.next() {
            let (name, policy, scenario) = (&series.contestant, series.policy.name(), series.scenario.name());
            notes.push(format!("{name}, {policy} policy, {scenario}: among what failed: {error}"));
        }
    }
    notes
}

fn noise(document: &Document<'_>) -> Option<String> {
    let (middle, most) = document.others_cpus?;
    let heading = if document.is_noisy { "NOISE, figures to discard" } else { "Others on this machine" };
    Some(format!(
        "{heading}: programs outside the race kept {middle:.2} CPUs busy (median of all rounds; at most {most:.2}); load \
         average at the start {}.",
        document.race.conditions.load_average
    ))
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn range(ratio: Option<Ratio>) -> String {
    ratio.map_or_else(
        || "-".to_owned(),
        |Ratio { median, least, most }| format!("{median:.2} ({least:.2}–{most:.2})"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser;

    use super::*;
    use crate::race::contestants::Kind;
    use crate::race::verdict::tests::series;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn a_race_is_a_table_goals_and_what_must_be_known_of_it() {
        let conditions = Conditions::now(&Line::parse_from(["race"]).arguments, BTreeMap::new());
        let mut edge = series(Kind::Edge, Policy::None, &[30.0, 40.0, 50.0]);
        edge.rounds[0].pace.error = Some("given up".into());
        edge.rounds.iter_mut().for_each(|round| round.others_cpus = 0.5);
        let series = vec![edge, series(Kind::Nginx, Policy::None, &[20.0, 20.0, 20.0])];
        let out = Out { contestant: "envoy".into(), policy: Some(Policy::Full), reason: "it sleeps".into() };
        let memory =
            Memory { contestant: "edge".into(), policy: Policy::None, idle_bytes: 3 << 19, end_bytes: None };
        let race = Race { conditions, series, memory: vec![memory], out: vec![out] };
        let text = text(&Document::new(&race));
        let has = |parts: &[&str]| {
            assert!(
                text.iter().any(|line| parts.iter().all(|part| line.contains(part))),
                "{parts:?}: {text:#?}"
            );
        };
        has(&["none policy, h1; latency at 1 requests/s"]);
        has(&["edge", "40", "2.00 (1.50–2.50)", "0"]);
        has(&["edge", "none", "1.5", "-"]);
        has(&["pass? ", "requests/s at least 0.95 × nginx's: 2.00 (1.50–2.50), in 3 of 3 rounds"]);
        has(&["miss? ", "p99 at most 1 × nginx's"]);
        has(&["envoy, full policy: out of the race: it sleeps"]);
        has(&["among what failed: given up"]);
        has(&["NOISE", "0.25 CPUs busy (median of all rounds; at most 0.50)"]);
    }
}
