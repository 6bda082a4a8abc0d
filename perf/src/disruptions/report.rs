//! What was noticed, for people and for programs.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};
use serde::Serialize;

use crate::disruptions::figures::{Gets, Sockets};
use crate::disruptions::options::{Arguments, Disruption};
use crate::{table, terminal};

/// One disruption, once.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub(super) disruption: Disruption,
    /// From 1.
    pub(super) run: u16,
    /// From the action until the edge had taken it in.
    pub(super) took_seconds: f64,
    /// Since the run before.
    pub(super) before: Gets,
    pub(super) sockets_before: Sockets,
    /// From the action until some seconds after its end.
    pub(super) during: Gets,
    pub(super) sockets: Sockets,
}

impl Run {
    fn failures(&self) -> u64 {
        self.before.failures() + self.during.failures()
    }

    fn drops(&self) -> u64 {
        self.sockets_before.drops() + self.sockets.drops()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    pub(super) disruption: Disruption,
    pub(super) reason: String,
}

/// All of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) rate: f64,
    pub(super) sockets: usize,
    pub(super) runs: Vec<Run>,
    pub(super) skipped: Vec<Skipped>,
    /// Why it ended before its time: what comes after the last run is missing.
    pub(super) ended_by: Option<String>,
}

/// Prints it; an error where a GET failed or a WebSocket was dropped.
pub(super) fn print(report: &Report, arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.edge.json {
        terminal::say(&serde_json::to_string_pretty(report)?);
    } else {
        let head = [
            "disruption",
            "run",
            "took s",
            "GETs",
            "failed",
            "again",
            "p50 ms",
            "p99 ms",
            "max ms",
            "sockets",
            "dropped",
            "told",
            "orphaned",
            "what went wrong",
        ];
        let rows: Vec<Vec<String>> = report.runs.iter().map(row).collect();
        table::lay_out(&head, &rows).iter().for_each(|line| terminal::say(line));
        for Skipped { disruption, reason } in &report.skipped {
            terminal::say(&format!("{}: skipped: {reason}", disruption.name()));
        }
    }
    if let Some(error) = &report.ended_by {
        bail!("{error}");
    }
    let failures: u64 = report.runs.iter().map(Run::failures).sum();
    let drops: u64 = report.runs.iter().map(Run::drops).sum();
    ensure!(failures + drops == 0, "{failures} GETs failed, {drops} WebSockets were dropped");
    Ok(())
}

fn row(run: &Run) -> Vec<String> {
    let Run { before, during, sockets, .. } = run;
    vec![
        run.disruption.name().to_owned(),
        run.run.to_string(),
        format!("{:.2}", run.took_seconds),
        during.sent.to_string(),
        during.failures().to_string(),
        during.again.to_string(),
        change(before.p50_ms, during.p50_ms),
        change(before.p99_ms, during.p99_ms),
        change(before.max_ms, during.max_ms),
        sockets.open.to_string(),
        sockets.drops().to_string(),
        sockets.told.to_string(),
        sockets.orphaned.to_string(),
        reasons(run),
    ]
}

fn change(before: Option<f64>, during: Option<f64>) -> String {
    let text = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.1}"));
    format!("{} > {}", text(before), text(during))
}

fn reasons(run: &Run) -> String {
    let kinds = [
        ("", &run.during.failed),
        ("", &run.sockets.dropped),
        ("before: ", &run.before.failed),
        ("before: ", &run.sockets_before.dropped),
    ];
    let parts =
        kinds.into_iter().flat_map(|(when, kinds)| list(kinds).map(move |text| format!("{when}{text}")));
    parts.collect::<Vec<_>>().join(", ")
}

/// Each kind and how often.
pub(super) fn list(kinds: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    kinds.iter().map(|(kind, number)| format!("{number} {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_went_wrong_and_when() {
        let failed = BTreeMap::from([("connect".to_owned(), 2)]);
        let dropped = BTreeMap::from([("broken".to_owned(), 1)]);
        let run = Run {
            disruption: Disruption::Kill,
            run: 1,
            took_seconds: 2.5,
            before: Gets { failed: failed.clone(), p50_ms: Some(1.0), ..Gets::default() },
            sockets_before: Sockets::default(),
            during: Gets { failed, ..Gets::default() },
            sockets: Sockets { dropped, ..Sockets::default() },
        };
        let row = row(&run);
        assert_eq!(row.last().map(String::as_str), Some("2 connect, 1 broken, before: 2 connect"));
        assert_eq!(row[6], "1.0 > -");
        assert_eq!((run.failures(), run.drops()), (4, 1));
    }
}
