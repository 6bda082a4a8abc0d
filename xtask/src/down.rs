//! `cargo xtask down`: stops the stack that runs in a state directory.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::lock::{Attempt, Lock};
use crate::state_dir::StateDir;
use crate::{orphans, state_dir, terminal};

/// Longer than a supervisor takes if every one of its processes must be killed.
const PATIENCE: Duration = Duration::from_secs(90);

/// What `down` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder of the stack to stop; `var/` in the workspace by default.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Asks the supervisor to stop, and waits until it has. Nothing running is no error.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let state = StateDir::open(arguments.state_dir.as_deref())?;
    let supervisor = match Lock::try_take(&state, || state_dir::remove_if_there(&state.stack_file()))? {
        Attempt::Taken(_lock) => {
            // A killed supervisor leaves processes behind.
            orphans::end_all(&state)?;
            terminal::say(&format!("nothing runs in {}", state.path().display()));
            return Ok(());
        }
        Attempt::HeldBy(pid) => pid,
    };
    ensure!(is_supervisor(supervisor), "pid {supervisor} holds the lock, but is no `xtask up`");
    kill_process(supervisor, Signal::TERM)
        .with_context(|| format!("cannot stop the supervisor (pid {supervisor})"))?;
    let deadline = Instant::now() + PATIENCE;
    while matches!(Lock::try_take(&state, || Ok(()))?, Attempt::HeldBy(pid) if pid == supervisor) {
        ensure!(Instant::now() < deadline, "the supervisor (pid {supervisor}) is still stopping");
        sleep(Duration::from_millis(100));
    }
    terminal::say(&format!("stopped what ran in {}", state.path().display()));
    Ok(())
}

/// A lock that is being taken over names the process before: that id may belong to anybody by now.
fn is_supervisor(pid: Pid) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).nth(1) == Some(b"up".as_slice()))
}
