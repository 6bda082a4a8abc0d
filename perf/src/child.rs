//! A process that was started here, and that ends with what started it.

use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use crate::process;

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ended, with all below it, when it is dropped.
#[derive(Debug)]
pub(crate) struct Owned(Child);

impl Owned {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        command.spawn().map(Self).with_context(|| program.display().to_string())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Not yet waited for, so that the ids are still its own and its children's.
        let all = process::with_children(self.pid()).unwrap_or_default();
        signal(self.pid(), Signal::TERM);
        let began = Instant::now();
        while self.runs() && began.elapsed() < PATIENCE {
            sleep(Duration::from_millis(10));
        }
        if self.runs() {
            all.into_iter().for_each(|pid| signal(pid, Signal::KILL));
            let _ = self.0.wait();
        }
    }
}

/// A program that ends with this one, even if this one is killed. The tool becomes the program.
pub(crate) fn tied(program: &Path, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    // Tied to the thread that starts it, which is the main one.
    command.args(["--pdeathsig", signal]).arg(program);
    command
}

/// Sends a signal; a process that has ended gets none.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_owner() {
        let owned = Owned::start(Command::new("sleep").arg("60")).expect("sleep");
        let pid = owned.pid();
        assert!(process::resident_bytes(pid).is_ok());
        drop(owned);
        assert!(process::resident_bytes(pid).is_err());
    }
}
