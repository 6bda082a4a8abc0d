//! What attacks did, for people and for programs.

use serde::Serialize;

use crate::floods::attack::Summary;
use crate::floods::bystanders::Notice;
use crate::{table, terminal};

/// One attack.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) attack: String,
    pub(crate) attackers: Summary,
    /// The clients before the attack.
    pub(crate) alone: Notice,
    /// The clients meanwhile.
    pub(crate) during: Notice,
    pub(crate) memory_bytes: Memory,
    /// CPUs that the edge kept busy meanwhile.
    pub(crate) edge_cpus: f64,
    /// From the attack's end until the edge had closed what was left of it; none if it didn't.
    pub(crate) settled_seconds: Option<f64>,
}

/// The edge's resident memory.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) before: u64,
    pub(crate) peak: u64,
    /// None if the edge has died.
    pub(crate) after: Option<u64>,
}

const HEAD: [&str; 14] = [
    "attack",
    "conns",
    "refused",
    "closed",
    "after s",
    "kept",
    "p50 ms",
    "p99 ms",
    "failed",
    "new ok %",
    "new p99 ms",
    "edge MiB",
    "CPUs",
    "seen by the attackers",
];

/// Prints all of them.
pub(crate) fn print(rows: &[Row], json: bool) -> anyhow::Result<()> {
    if json {
        terminal::say(&serde_json::to_string_pretty(rows)?);
        return Ok(());
    }
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    table::lay_out(&HEAD, &cells).iter().for_each(|line| terminal::say(line));
    terminal::say("");
    terminal::say("after s: median/longest; p50, p99, new: alone > during; edge MiB: before/peak/after");
    for row in rows {
        notes(row).iter().for_each(|note| terminal::say(note));
    }
    Ok(())
}

fn cells(row: &Row) -> Vec<String> {
    let attackers = &row.attackers;
    let Memory { before, peak, after } = row.memory_bytes;
    let both =
        |of: fn(&Notice) -> Option<f64>| format!("{}>{}", short(of(&row.alone)), short(of(&row.during)));
    let seen = attackers.seen.iter().map(|(what, count)| format!("{count} {what}"));
    vec![
        row.attack.clone(),
        attackers.connections.to_string(),
        attackers.refused.to_string(),
        attackers.closed.to_string(),
        format!(
            "{}/{}",
            short(attackers.closed_after_ms_median.map(|ms| ms / 1000.0)),
            short(attackers.closed_after_ms_max.map(|ms| ms / 1000.0))
        ),
        attackers.kept.to_string(),
        both(|notice| notice.regulars.p50_ms),
        both(|notice| notice.regulars.p99_ms),
        format!("{}/{}", row.during.regulars.failed, row.during.regulars.requests),
        both(|notice| notice.newcomers.answered_percent()),
        both(|notice| notice.newcomers.p99_ms),
        format!("{}/{}/{}", mib(before), mib(peak), after.map_or_else(|| "died".to_owned(), mib)),
        format!("{:.2}", row.edge_cpus),
        seen.collect::<Vec<_>>().join(", "),
    ]
}

/// What the table has no room for.
fn notes(row: &Row) -> Vec<String> {
    let mut notes = Vec::new();
    if row.settled_seconds.is_none() {
        notes.push(format!("{}: the edge still holds files that the attack had opened", row.attack));
    }
    for (who, figures) in [("clients", &row.during.regulars), ("new clients", &row.during.newcomers)] {
        for (error, count) in &figures.errors {
            notes.push(format!("{}: {who} met {count} times: {error}", row.attack));
        }
    }
    notes
}

/// As many digits as it takes to compare.
fn short(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 10.0 => format!("{value:.0}"),
        Some(value) if value >= 1.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn mib(bytes: u64) -> String {
    (bytes / (1024 * 1024)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_long_as_they_need_be() {
        assert_eq!(short(Some(123.4)), "123");
        assert_eq!(short(Some(2.34)), "2.3");
        assert_eq!(short(Some(0.012)), "0.01");
        assert_eq!(short(None), "-");
        assert_eq!(mib(13 * 1024 * 1024 + 5), "13");
    }
}
