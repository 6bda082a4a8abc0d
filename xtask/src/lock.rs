//! One supervisor a state directory: the lock that it holds, and who holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Pid;

use crate::state_dir::StateDir;

/// A lock that is held; the kernel frees it when this process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The outcome of asking for the lock.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It is ours.
    Taken(Lock),
    /// This process has it.
    HeldBy(Pid),
}

impl Lock {
    /// Asks for the lock of `state`, without waiting for it. Does `first` before it says to others whose it is.
    pub(crate) fn try_take(
        state: &StateDir,
        first: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Attempt> {
        let path = state.lock_file();
        let context = || format!("cannot lock {}", path.display());
        // Whoever has just taken the lock may not have written its id yet.
        for _ in 0..20 {
            let options = OpenOptions::new().read(true).append(true).create(true).to_owned();
            let mut file = options.open(&path).with_context(context)?;
            match file.try_lock() {
                Ok(()) => {
                    first()?;
                    file.set_len(0).with_context(context)?;
                    write!(file, "{}", std::process::id()).with_context(context)?;
                    return Ok(Attempt::Taken(Self { _file: file }));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).with_context(context),
            }
            if let Some(pid) = written_id(state) {
                return Ok(Attempt::HeldBy(pid));
            }
            sleep(Duration::from_millis(50));
        }
        bail!("{} is locked, and doesn't say by whom", path.display())
    }
}

/// The id that stands in the lock file; whether that process still holds the lock is another question.
pub(crate) fn written_id(state: &StateDir) -> Option<Pid> {
    let text = fs::read_to_string(state.lock_file()).ok()?;
    text.trim().parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_learns_who_holds_the_lock() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = StateDir::open(Some(folder.path())).expect("the folder opens");
        let Attempt::Taken(lock) = Lock::try_take(&state, || Ok(())).expect("it can be asked") else {
            panic!("nobody else holds it");
        };
        let own = Pid::from_raw(i32::try_from(std::process::id()).expect("an id"));
        match Lock::try_take(&state, || Ok(())).expect("it can be asked") {
            Attempt::HeldBy(pid) => assert_eq!(Some(pid), own),
            Attempt::Taken(_) => panic!("it was held"),
        }
        drop(lock);
        assert!(matches!(Lock::try_take(&state, || Ok(())), Ok(Attempt::Taken(_))));
    }
}
