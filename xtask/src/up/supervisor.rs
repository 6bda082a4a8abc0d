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
/// How often the logs' lengths are looked at.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
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
    last_look_at_logs: Instant,
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
        Ok(Self {
            state,
            services: Vec::new(),
            signals,
            last_look_at_logs: Instant::now(),
            outlives_terminal,
        })
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
        let looks_at_logs = self.last_look_at_logs.elapsed() > LOG_INTERVAL;
        if looks_at_logs {
            self.last_look_at_logs = Instant::now();
        }
        for service in &mut self.services {
            if looks_at_logs && let Err(error) = log::cut(&self.state, &service.program.name) {
                terminal::complain(&format!("{error:#}"));
            }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::up::health::Probe;
    use crate::up::service::command;

    fn supervisor() -> (Supervisor, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = StateDir::open(Some(folder.path())).expect("the folder opens");
        (Supervisor::new(state, false).expect("signals can be listened for"), folder)
    }

    fn shell(name: &str, script: &str, stop_stage: u8) -> Program {
        Program {
            name: name.into(),
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            probes: Vec::new(),
            stop_stage,
        }
    }

    /// An address that nobody listens on.
    fn silent_address() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound")
    }

    fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            sleep(Duration::from_millis(10));
        }
    }

    fn pid_of(supervisor: &Supervisor, name: &str) -> Pid {
        let pid = supervisor.pid(name).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        pid.expect("it runs")
    }

    #[test]
    fn a_killed_process_is_started_again() {
        let (mut supervisor, _folder) = supervisor();
        supervisor.start(shell("sleeper", "exec sleep 60", 0)).expect("it starts");
        let first = pid_of(&supervisor, "sleeper");
        kill_process(first, Signal::KILL).expect("it is ours");
        wait_until("another process runs", || supervisor.tick().expect("it can be watched"));
        assert_ne!(pid_of(&supervisor, "sleeper"), first);
        let noted = fs::read_to_string(supervisor.state.processes_file()).expect("it is noted");
        let pid = supervisor.pid("sleeper").expect("it runs");
        assert!(noted.contains(&format!("\"pid\": {pid},")), "{noted}");
        supervisor.stop();
    }

    #[test]
    fn a_program_that_ends_five_times_before_it_serves_fails_with_its_last_lines() {
        let (mut supervisor, _folder) = supervisor();
        let mut program = shell("broken", "echo out of paper; exit 3", 0);
        program.probes.push(Probe::Tcp(silent_address()));
        let error = supervisor.start(program).expect_err("it never serves").to_string();
        assert!(error.starts_with("broken can't start"), "{error}");
        assert_eq!(error.matches("out of paper").count(), 5, "{error}");
        supervisor.stop();
    }

    #[test]
    fn processes_stop_stage_by_stage() {
        let (mut supervisor, folder) = supervisor();
        for (name, stop_stage) in [("redis", 2), ("backend", 1), ("edge", 0)] {
            let script =
                format!("trap 'echo {name} >> order; exit' TERM; echo ready; while :; do sleep 0.05; done");
            supervisor.start(shell(name, &script, stop_stage)).expect("it starts");
            wait_until("its trap is set", || supervisor.last_lines(name) == "ready");
        }
        supervisor.stop();
        let order = fs::read_to_string(folder.path().join("order")).expect("they have stopped");
        assert_eq!(order, "edge\nbackend\nredis\n");
    }

    #[test]
    fn a_command_that_fails_is_told_with_its_last_lines() {
        let (mut supervisor, _folder) = supervisor();
        let run = |supervisor: &mut Supervisor, script: &str| {
            let mut command = command(&supervisor.state, "prepare", Path::new("/bin/sh")).expect("a log");
            command.args(["-c", script]);
            supervisor.run_command("prepare", command)
        };
        assert!(run(&mut supervisor, "exit 0").is_ok());
        let error = run(&mut supervisor, "echo no such table >&2; exit 1").expect_err("it fails").to_string();
        assert!(error.contains("prepare failed") && error.contains("no such table"), "{error}");
    }
}
