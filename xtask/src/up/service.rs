//! One process of the stack: how it is started, whether it runs, and when it may be started again.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::state_dir::StateDir;
use crate::up::backoff::Backoff;
use crate::up::health::Probe;
use crate::up::log;

/// What to run, and how to tell that it serves.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Names its log file too.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// All must hold.
    pub(crate) probes: Vec<Probe>,
    /// Programs of one stage stop together, those of a lower one before those of a higher.
    pub(crate) stop_stage: u8,
}

/// A program that is kept running.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) program: Program,
    condition: Condition,
    backoff: Backoff,
    deaths: u32,
}

#[derive(Debug)]
enum Condition {
    Running { child: Child, since: Instant },
    Waiting { until: Instant },
}

/// A process that has ended, and how long it is left alone.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) status: ExitStatus,
    pub(crate) delay: Duration,
}

impl Service {
    /// Starts the program for the first time.
    pub(crate) fn start(program: Program, state: &StateDir) -> anyhow::Result<Self> {
        let condition = spawn(&program, state)?;
        Ok(Self { program, condition, backoff: Backoff::new(), deaths: 0 })
    }

    /// The running process's id.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.condition {
            Condition::Running { child, .. } => Some(child.id()),
            Condition::Waiting { .. } => None,
        }
    }

    /// How often it has ended by itself.
    pub(crate) fn deaths(&self) -> u32 {
        self.deaths
    }

    /// Notices if the process has ended; tells it once.
    pub(crate) fn notice_death(&mut self) -> anyhow::Result<Option<Death>> {
        let Condition::Running { child, since } = &mut self.condition else { return Ok(None) };
        let Some(status) = child.try_wait().context("cannot ask for a child's state")? else {
            return Ok(None);
        };
        // What it has started goes with it: nginx's workers would keep the ports that its successor needs.
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        let delay = self.backoff.after_death(since.elapsed());
        self.deaths += 1;
        self.condition = Condition::Waiting { until: Instant::now() + delay };
        Ok(Some(Death { status, delay }))
    }

    /// Starts the program again if it is time to. Says whether it did; a failure counts as another death.
    pub(crate) fn revive(&mut self, state: &StateDir) -> anyhow::Result<bool> {
        match self.condition {
            Condition::Waiting { until } if until <= Instant::now() => {}
            _ => return Ok(false),
        }
        match spawn(&self.program, state) {
            Ok(running) => {
                self.condition = running;
                Ok(true)
            }
            Err(error) => {
                let delay = self.backoff.after_death(Duration::ZERO);
                self.condition = Condition::Waiting { until: Instant::now() + delay };
                Err(error)
            }
        }
    }

    /// Whether the process runs and answers.
    pub(crate) fn is_ready(&self) -> bool {
        self.pid().is_some() && self.program.probes.iter().all(Probe::is_ready)
    }

    /// Asks the process to stop.
    pub(crate) fn terminate(&self) {
        if let Condition::Running { child, .. } = &self.condition {
            // It is our child and hasn't been waited for, so the id is still its own.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
    }

    /// Ends the process, with all that it has started, at once.
    pub(crate) fn kill(&self) {
        if let Condition::Running { child, .. } = &self.condition {
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        }
    }

    /// Whether no process is left.
    pub(crate) fn has_stopped(&mut self) -> bool {
        match &mut self.condition {
            Condition::Running { child, .. } => !matches!(child.try_wait(), Ok(None)),
            Condition::Waiting { .. } => true,
        }
    }
}

fn spawn(program: &Program, state: &StateDir) -> anyhow::Result<Condition> {
    let mut command = command(state, &program.name, &program.path)?;
    let child = command
        .args(&program.arguments)
        .spawn()
        .with_context(|| format!("cannot start {} ({})", program.name, program.path.display()))?;
    Ok(Condition::Running { child, since: Instant::now() })
}

/// A command whose output goes to the log of `name`, and which a Ctrl-C at the terminal doesn't reach.
pub(crate) fn command(state: &StateDir, name: &str, program: &Path) -> anyhow::Result<Command> {
    let log = log::open(state, name)?;
    let mut command = Command::new(program);
    command
        .current_dir(state.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share a log file")?)
        .stderr(log)
        .process_group(0);
    Ok(command)
}
