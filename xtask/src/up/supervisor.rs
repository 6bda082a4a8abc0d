//! Starts the stack's processes one after the other, keeps them running, and stops them in order.
//!
//! One loop does it all, twenty times a second: it notices deaths, starts again what is due, and heeds signals.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::orphans::{self, Started};
use crate::state_dir::StateDir;
use crate::terminal;
use crate::up::log;
use crate::up::service::{Program, Service};

const TICK: Duration = Duration::from_millis(50);
/// How long a process may take until it serves.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often a process may end before it has served once.
const START_DEATHS: u32 = 5;
/// How long a command that prepares something may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(120);
/// How long a process may take to stop once asked.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// How much of a log is shown when its process can't start.
const SHOWN_LINES: usize = 20;

/// The processes of a stack and what they are told.
#[derive(Debug)]
pub(crate) struct Supervisor {
    state: StateDir,
    services: Vec<Service>,
    signals: Signals,
    /// A closed terminal is no reason to stop.
    outlives_terminal: bool,
}

/// Somebody asked to stop before the stack was ready.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Supervisor {
    /// Takes over the signals that ask a program to stop.
    pub(crate) fn new(state: StateDir, outlives_terminal: bool) -> anyhow::Result<Self> {
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
        Ok(Self { state, services: Vec::new(), signals, outlives_terminal })
    }

    /// Starts a program and waits until it serves.
    pub(crate) fn start(&mut self, program: Program) -> anyhow::Result<()> {
        let name = program.name.clone();
        self.services.push(Service::start(program, &self.state)?);
        self.note_processes()?;
        let index = self.services.len() - 1;
        let deadline = Instant::now() + START_PATIENCE;
        while !self.services[index].is_ready() {
            self.tick()?;
            self.heed_signals()?;
            if self.services[index].deaths() >= START_DEATHS {
                bail!("{name} can't start; its last lines:\n{}", self.last_lines(&name));
            }
            if Instant::now() > deadline {
                bail!(
                    "{name} isn't ready after {START_PATIENCE:?}; its last lines:\n{}",
                    self.last_lines(&name)
                );
            }
            sleep(TICK);
        }
        Ok(())
    }

    /// Runs a command to its end, its output in the log of `name`.
    pub(crate) fn run_command(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let deadline = Instant::now() + COMMAND_PATIENCE;
        let outcome = loop {
            match child.try_wait().with_context(|| format!("cannot wait for {name}"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    break anyhow!("{name} failed ({status}); its last lines:\n{}", self.last_lines(name));
                }
                None if Instant::now() > deadline => {
                    break anyhow!("{name} took longer than {COMMAND_PATIENCE:?}");
                }
                None => {}
            }
            if let Err(error) = self.tick().and_then(|_| self.heed_signals()) {
                break error;
            }
            sleep(TICK);
        };
        // Fails only for a command that has ended already.
        let _ = child.kill();
        let _ = child.wait();
        Err(outcome)
    }

    /// Keeps everything running until somebody asks to stop; `on_change` is told of every new process.
    pub(crate) fn watch(
        &mut self,
        mut on_change: impl FnMut(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while self.heed_signals().is_ok() {
            if self.tick()?
                && let Err(error) = on_change(self)
            {
                terminal::complain(&format!("{error:#}"));
            }
            sleep(TICK);
        }
        Ok(())
    }

    /// The id of the process that was started under this name, if it runs.
    pub(crate) fn pid(&self, name: &str) -> Option<u32> {
        self.services.iter().find(|service| service.program.name == name)?.pid()
    }

    /// Stops all processes, stage by stage. Another Ctrl-C ends them at once.
    pub(crate) fn stop(mut self) {
        self.services.sort_by_key(|service| service.program.stop_stage);
        let mut hurry = false;
        let Self { services, signals, .. } = &mut self;
        for stage in services.chunk_by_mut(|a, b| a.program.stop_stage == b.program.stop_stage) {
            stop_together(stage, signals, &mut hurry);
        }
    }

    /// Notices deaths and starts again what is due. Says whether a process is new.
    fn tick(&mut self) -> anyhow::Result<bool> {
        let mut changed = false;
        for service in &mut self.services {
            if let Some(death) = service.notice_death()? {
                let name = &service.program.name;
                terminal::say(&format!(
                    "{name} ended ({}); starting it again in {:?}",
                    death.status, death.delay
                ));
            }
            match service.revive(&self.state) {
                Ok(revived) => changed |= revived,
                Err(error) => {
                    let name = &service.program.name;
                    terminal::complain(&format!("{name} can't be started again: {error:#}"));
                }
            }
        }
        if changed {
            self.note_processes()?;
        }
        Ok(changed)
    }

    fn heed_signals(&mut self) -> anyhow::Result<()> {
        let ignored = self.outlives_terminal.then_some(SIGHUP);
        if self.signals.pending().any(|signal| Some(signal) != ignored) {
            Err(Interrupted.into())
        } else {
            Ok(())
        }
    }

    fn note_processes(&self) -> anyhow::Result<()> {
        let started = |service: &Service| Started::observe(&service.program.name, service.pid()?);
        orphans::note(&self.state, &self.services.iter().filter_map(started).collect::<Vec<_>>())
    }

    fn last_lines(&self, name: &str) -> String {
        log::last_lines(&self.state, name, SHOWN_LINES).join("\n")
    }
}

/// Asks all of `stage` to stop and waits for them; kills what doesn't.
fn stop_together(stage: &mut [Service], signals: &mut Signals, hurry: &mut bool) {
    stage.iter().for_each(Service::terminate);
    let deadline = Instant::now() + STOP_PATIENCE;
    while !stage.iter_mut().all(Service::has_stopped) {
        *hurry |= signals.pending().any(|signal| signal == SIGINT);
        let late = Instant::now() > deadline;
        if *hurry || late {
            for service in stage.iter_mut().filter_map(|service| (!service.has_stopped()).then_some(service))
            {
                if late {
                    terminal::say(&format!("{} didn't stop; killing it", service.program.name));
                }
                service.kill();
            }
        }
        sleep(TICK);
    }
}
