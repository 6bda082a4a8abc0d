//! The processes that a supervisor has started, noted down so that the next one can end them if it was killed.
//!
//! A process id may since belong to somebody else. So a process counts as ours only if it started at the noted
//! moment and its command line or working folder lies in the state directory.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::state_dir::{self, StateDir};
use crate::terminal;

/// How long an orphan may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    name: String,
    pid: i32,
    /// When it started, in clock ticks since the machine did.
    start_ticks: u64,
}

impl Started {
    /// Notes a process that runs now; nothing if it has already gone.
    pub(crate) fn observe(name: &str, pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        Some(Self { name: name.to_owned(), pid, start_ticks: start_ticks(pid)? })
    }

    fn is_running(&self, state: &StateDir) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks) && belongs_to(self.pid, state.path())
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        // It may have ended this instant; then there is nothing left to do.
        let _ =
            if signal == Signal::KILL { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }
}

/// Writes down what runs.
pub(crate) fn note(state: &StateDir, started: &[Started]) -> anyhow::Result<()> {
    state_dir::write_private(&state.processes_file(), &serde_json::to_vec_pretty(started)?)
}

/// Ends what a killed supervisor has left behind. The caller holds the lock.
pub(crate) fn end_all(state: &StateDir) -> anyhow::Result<()> {
    let noted: Vec<Started> = fs::read(state.processes_file())
        .ok()
        .and_then(|content| serde_json::from_slice(&content).ok())
        .unwrap_or_default();
    let mut left: Vec<_> = noted.into_iter().filter(|process| process.is_running(state)).collect();
    for process in &left {
        terminal::say(&format!("ending {} (pid {}), left by a killed supervisor", process.name, process.pid));
        process.signal(Signal::TERM);
    }
    let deadline = Instant::now() + PATIENCE;
    while !left.is_empty() {
        if Instant::now() > deadline {
            left.iter().for_each(|process| process.signal(Signal::KILL));
        }
        sleep(Duration::from_millis(50));
        left.retain(|process| process.is_running(state));
    }
    state_dir::remove_if_there(&state.processes_file())
}

/// Field 22 of `/proc/PID/stat` (proc(5)); nothing for a process that is gone or a zombie.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18)?.parse().ok() }
}

fn belongs_to(pid: i32, folder: &Path) -> bool {
    let named = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0)
            .filter_map(|argument| std::str::from_utf8(argument).ok())
            .any(|argument| Path::new(argument).starts_with(folder))
    });
    // Redis writes another title over its command line, but stays in its folder.
    named || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn state() -> (StateDir, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        (StateDir::open(Some(folder.path())).expect("the folder opens"), folder)
    }

    fn sleeper(folder: &Path) -> Child {
        Command::new("sleep").arg("60").current_dir(folder).spawn().expect("sleep starts")
    }

    fn is_alive(child: &mut Child) -> bool {
        child.try_wait().expect("a child can be asked").is_none()
    }

    #[test]
    fn a_noted_process_of_the_folder_is_ended() {
        let (state, _folder) = state();
        let mut child = sleeper(state.path());
        note(&state, &[Started::observe("sleeper", child.id()).expect("it runs")]).expect("noted");
        end_all(&state).expect("orphans end");
        assert!(!child.wait().expect("it ended").success());
        assert!(!state.processes_file().exists());
    }

    #[test]
    fn a_process_that_took_over_a_noted_id_is_left_alone() {
        let (state, _folder) = state();
        let mut same_folder = sleeper(state.path());
        let mut elsewhere = sleeper(Path::new("/"));
        let mut later = Started::observe("sleeper", same_folder.id()).expect("it runs");
        later.start_ticks += 1;
        let foreign = Started::observe("sleeper", elsewhere.id()).expect("it runs");
        note(&state, &[later, foreign]).expect("noted");
        end_all(&state).expect("orphans end");
        assert!(is_alive(&mut same_folder) && is_alive(&mut elsewhere));
        for child in [&mut same_folder, &mut elsewhere] {
            child.kill().expect("it is ours");
            child.wait().expect("it ended");
        }
    }
}
