//! What a process of this machine uses, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Resident memory, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} has ended"))?;
    parse_resident(&status).with_context(|| format!("process {pid} has no memory"))
}

/// How many files, and so connections, a process has open.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<usize> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| format!("process {pid}"))?;
    Ok(entries.count())
}

/// CPU time that a process and all below it have used, with what ended children had used.
pub(crate) fn cpu_time_with_children(pid: u32) -> anyhow::Result<Duration> {
    let all = all_processes()?;
    let root = all.get(&pid).with_context(|| format!("process {pid} has ended"))?;
    let mut ticks = root.ticks;
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for (child, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            ticks += stat.ticks;
            parents.push(*child);
        }
    }
    let ticks_a_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_micros(ticks.saturating_mul(1_000_000) / ticks_a_second))
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time, its own and that of children that have ended.
    ticks: u64,
}

fn all_processes() -> anyhow::Result<BTreeMap<u32, Stat>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("/proc")? {
        let name = entry.context("/proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends meanwhile is left out.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        if let Some(stat) = stat.as_deref().and_then(parse_stat) {
            all.insert(pid, stat);
        }
    }
    Ok(all)
}

/// Reads proc(5)'s `stat`. The name in parentheses may hold anything, so fields are counted from its end: the parent
/// is the 4th, utime, stime, cutime and cstime are the 14th to 17th.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |nth: usize| fields.get(nth - 3)?.parse::<u64>().ok();
    let ticks = (14..=17).map(number).sum::<Option<u64>>()?;
    Some(Stat { parent: u32::try_from(number(4)?).ok()?, ticks })
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name_holds() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 200 0 0 11 5 3 2 20 0 4 0 12345 1000 50";
        assert_eq!(parse_stat(text), Some(Stat { parent: 7, ticks: 21 }));
    }

    #[test]
    fn a_short_stat_line_is_none() {
        assert_eq!(parse_stat("42 (a) S 7 42"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(parse_resident("Name:\tedge\nVmRSS:\t   13312 kB\nVmData:\t 1 kB\n"), Some(13_631_488));
        assert_eq!(parse_resident("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_uses_memory_and_files() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).expect("memory") > 0);
        assert!(open_files(pid).expect("files") > 0);
        assert!(cpu_time_with_children(pid).is_ok());
    }
}
