//! A stack of a test's own: its folder, its ports, its Redis.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

use serde::Deserialize;

/// What `up` says of a running stack, as the contract has it.
#[derive(Debug, Deserialize)]
pub(crate) struct StackFile {
    pub(crate) https: String,
    pub(crate) http: String,
    pub(crate) ca: PathBuf,
    pub(crate) edge_admin: String,
    pub(crate) backends: Vec<Backend>,
    pub(crate) redis: String,
    pub(crate) database: String,
    pub(crate) identity_provider: String,
    pub(crate) pids: std::collections::BTreeMap<String, u32>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Backend {
    pub(crate) api: String,
    pub(crate) management: String,
    pub(crate) pid: u32,
}

/// A stack that `up --detach` started; it is stopped when the test ends.
pub(crate) struct Stack {
    pub(crate) file: StackFile,
    pub(crate) port_offset: u16,
    folder: tempfile::TempDir,
}

impl Stack {
    pub(crate) fn start() -> Self {
        Self::behind("edge")
    }

    /// A stack with this gateway in front.
    pub(crate) fn behind(gateway: &str) -> Self {
        Self::with(&["--gateway", gateway])
    }

    /// A stack that is told this.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for _ in 0..20 {
            let port_offset = next_offset();
            let output = up_with(folder.path(), port_offset, arguments);
            if output.status.success() {
                let file = read(folder.path());
                return Self { file, port_offset, folder };
            }
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            // Another program of this machine has one of the ports: others are tried.
            assert!(error.contains("is in use"), "{error}\n{}", String::from_utf8_lossy(&output.stdout));
        }
        panic!("no free ports");
    }

    pub(crate) fn state_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The stack file as it stands now: restarts change its pids.
    pub(crate) fn reread(&self) -> StackFile {
        read(self.state_dir())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let output = xtask(&["down", "--state-dir", text(self.state_dir())]);
        if !output.status.success() && !std::thread::panicking() {
            panic!("down failed: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// `cargo xtask up --detach` in this folder.
pub(crate) fn up(state_dir: &Path, port_offset: u16) -> Output {
    up_with(state_dir, port_offset, &[])
}

fn up_with(state_dir: &Path, port_offset: u16, more: &[&str]) -> Output {
    let offset = port_offset.to_string();
    let mut arguments = vec!["up", "--detach", "--state-dir", text(state_dir), "--port-offset", &offset];
    arguments.extend(more);
    let bin_dir = std::env::var("DAEMUN_BIN_DIR").ok();
    if let Some(bin_dir) = &bin_dir {
        arguments.extend(["--bin-dir", bin_dir]);
    }
    xtask(&arguments)
}

/// Runs xtask to its end.
pub(crate) fn xtask(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).current_dir(root).output().expect("xtask runs")
}

/// Offsets that differ between tests and test processes, and keep all ports below the range that the system gives
/// to outgoing connections.
pub(crate) fn next_offset() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = (std::process::id() % 340) as u16;
    // Steps of 7: the differences between a stack's own ports are no multiples of it, so that neighbours never meet.
    10_000 + (process * 5 + NEXT.fetch_add(1, Ordering::Relaxed)) % 1_700 * 7
}

fn read(state_dir: &Path) -> StackFile {
    let text = std::fs::read_to_string(state_dir.join("stack.json")).expect("a stack file");
    serde_json::from_str(&text).expect("the contract's form")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
