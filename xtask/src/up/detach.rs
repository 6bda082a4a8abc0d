//! `up --detach`: the supervisor in the background, and its starter waiting until the stack is ready.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;

use crate::lock;
use crate::state_dir::StateDir;
use crate::terminal;
use crate::up::stack_file::Stack;
use crate::up::{announce, log};

/// The supervisor's own log.
const LOG: &str = "up";

/// Starts the supervisor with these arguments in the background; returns when the stack is ready, or when the supervisor has ended: then it
/// has said why, and that was passed on.
pub(crate) fn run(arguments: &[OsString], state: &StateDir) -> anyhow::Result<ExitCode> {
    let output = log::open(state, LOG)?;
    let mut reader = File::open(state.log_file(LOG)).context("cannot read the supervisor's log")?;
    reader.seek(SeekFrom::End(0)).context("cannot read the supervisor's log")?;
    let mut supervisor = Command::new(env::current_exe().context("cannot tell which program this is")?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("cannot share the supervisor's log")?)
        .stderr(output)
        .spawn()
        .context("cannot start the supervisor")?;
    loop {
        let ended = supervisor.try_wait().context("cannot wait for the supervisor")?;
        let ready = ended.is_none().then(|| ready_stack(&supervisor, state)).flatten();
        pass_on(&mut reader);
        if let Some(stack) = ready {
            announce::ready(&stack);
            terminal::say(&format!(
                "running in the background; `cargo xtask down --state-dir {}` stops it",
                state.path().display()
            ));
            return Ok(ExitCode::SUCCESS);
        }
        if ended.is_some() {
            return Ok(ExitCode::FAILURE);
        }
        sleep(Duration::from_millis(50));
    }
}

/// Leaves the terminal's session, whose end is then none of ours.
pub(crate) fn leave_session() -> anyhow::Result<()> {
    rustix::process::setsid().context("cannot leave the terminal's session").map(drop)
}

/// The stack that `supervisor` has made ready. A supervisor puts its id into the lock only after it has removed the
/// file of a stack before, so an old one is never taken for it.
fn ready_stack(supervisor: &Child, state: &StateDir) -> Option<Stack> {
    let holder = lock::written_id(state)?.as_raw_nonzero().get();
    if u32::try_from(holder).ok() == Some(supervisor.id()) { Stack::read(state) } else { None }
}

/// Shows what the supervisor has said since last time.
fn pass_on(reader: &mut File) {
    let mut said = Vec::new();
    // What can't be read now stands in the log all the same.
    if reader.read_to_end(&mut said).is_ok() && !said.is_empty() {
        terminal::complain(String::from_utf8_lossy(&said).trim_end());
    }
}
