//! Where the sources are, and what cargo makes of them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// The programs that a stack consists of, beside Redis.
const PROGRAMS: [&str; 3] = ["edge", "backend", "identity-provider"];

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the workspace")
}

/// The cargo that runs us, at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The command that builds the stack's programs.
pub(crate) fn build_command() -> Command {
    let mut command = cargo();
    command.args(["build", "--release"]);
    for program in PROGRAMS {
        command.args(["--package", program]);
    }
    command
}

/// Builds the stack's programs and says where they are. Cargo's own output goes to the terminal.
pub(crate) fn build_programs() -> anyhow::Result<PathBuf> {
    let status = build_command().status().context("cannot run cargo")?;
    ensure!(status.success(), "the build failed ({status})");
    release_dir()
}

/// The folder that `build_command` builds into.
pub(crate) fn release_dir() -> anyhow::Result<PathBuf> {
    Ok(target_dir()?.join("release"))
}

/// The folder for all that is built.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(target.into())
}
