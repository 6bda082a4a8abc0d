//! `cargo xtask test containers`: the images, the compose files, and the product in its containers.
//!
//! `engine → firewall` finds or starts a container engine, `images` makes what the images are built upon, `linters` checks the
//! files, `project` brings the product up under a name and ports of its own. Whatever is started here is stopped.

mod engine;
mod firewall;
mod images;
mod linters;
mod project;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use crate::test::containers::engine::Engine;
use crate::test::containers::project::Project;
use crate::test::counts::Counts;
use crate::test::run_all;
use crate::{terminal, workspace};

/// Brings up what the tests need, runs the checks and the tests, and takes it down again.
pub(super) fn run(mut tests: Vec<Command>, bin_dir: &Path) -> anyhow::Result<Counts> {
    let folder = workspace::target_dir()?.join("containers");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let engine = step("found a container engine", || Engine::find_or_start(&folder))?;
    let bases = step("found base images", || images::bases(&engine, &folder))?;
    step("took the programs that were built here", || take_programs(bin_dir))?;
    // Dropped before the engine is: it takes itself down.
    let project = Project::new(&engine, &bases, &folder);
    let mut counts = run_all(linters::commands(&folder, &project)?);
    step("built images", || project.build())?;
    project.remove_remains()?;
    step("brought the product up", || project.up())?;
    for command in &mut tests {
        project.describe_to(command);
    }
    counts += run_all(tests);
    if counts.failed > 0 {
        project.show_logs();
    }
    Ok(counts)
}

/// Puts the programs where the images' build takes them from, without what only a debugger needs.
fn take_programs(bin_dir: &Path) -> anyhow::Result<()> {
    // The images' build sees nothing outside the workspace, wherever cargo builds.
    let folder = workspace::root().join("target/prebuilt");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let own = std::env::current_exe().context("cannot tell which program this is")?;
    let programs = ["edge", "backend", "identity-provider"].map(|program| (program, bin_dir.join(program)));
    for (program, from) in programs.into_iter().chain([("xtask", own)]) {
        let to = folder.join(program);
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        run_silently(Command::new("strip").arg(&to))?;
    }
    Ok(())
}

/// Runs a command that says nothing unless it fails, and gives what it has printed.
fn run_silently(command: &mut Command) -> anyhow::Result<String> {
    let program = PathBuf::from(command.get_program());
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("`{} {}` failed: {}", program.display(), words.join(" "), errors.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a command succeeds; its output is of no interest.
fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Does one step and says how long it took.
fn step<T>(done: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    let result = work()?;
    terminal::say(&format!("{done} ({:.1} s)", start.elapsed().as_secs_f64()));
    Ok(result)
}
