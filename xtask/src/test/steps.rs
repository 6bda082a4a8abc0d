//! The steps of a full test, in their order, and the commands that each consists of.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::workspace;

/// Tells the end-to-end tests where the programs are.
const BIN_DIR: &str = "DAEMUN_BIN_DIR";

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Step {
    /// The sources are formatted.
    Fmt,
    /// The lints find nothing.
    Clippy,
    /// The documentation builds without a warning.
    Doc,
    /// Unit and integration tests of every crate.
    Tests,
    /// The backend's tests once more, on PostgreSQL.
    Postgres,
    /// The programs build the way `up` builds them.
    Build,
    /// The whole stack, through its front door.
    EndToEnd,
    /// The same in containers; only when it is asked for.
    Containers,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Tests => "tests",
            Self::Postgres => "postgres",
            Self::Build => "build",
            Self::EndToEnd => "end-to-end",
            Self::Containers => "containers",
        })
    }
}

impl Step {
    /// Whether the step runs tests that are counted.
    pub(crate) fn has_tests(self) -> bool {
        matches!(self, Self::Tests | Self::Postgres | Self::EndToEnd | Self::Containers)
    }

    /// The step whose result this one works with.
    pub(crate) fn needs(self) -> Option<Self> {
        matches!(self, Self::EndToEnd | Self::Containers).then_some(Self::Build)
    }
}

/// All steps but the one that needs a container engine, or those that are asked for and what they need, in their order.
pub(crate) fn to_run(asked: &[Step]) -> Vec<Step> {
    let is_wanted = |step: &Step| {
        (asked.is_empty() && *step != Step::Containers)
            || asked.iter().any(|asked| asked == step || asked.needs() == Some(*step))
    };
    Step::value_variants().iter().copied().filter(is_wanted).collect()
}

/// What the steps are run with on this machine.
#[derive(Debug)]
pub(crate) struct Toolbox {
    has_nextest: bool,
    bin_dir: PathBuf,
}

impl Toolbox {
    /// Looks for nextest, which runs tests faster; cargo's own runner does as well.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let has_nextest = workspace::cargo()
            .args(["nextest", "--version"])
            .output()
            .is_ok_and(|output| output.status.success());
        Ok(Self { has_nextest, bin_dir: workspace::release_dir()? })
    }

    /// The folder that holds the programs once they are built.
    pub(crate) fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The commands of a step; all are run, even after one has failed.
    pub(crate) fn commands(&self, step: Step) -> Vec<Command> {
        match step {
            Step::Fmt => vec![cargo("fmt --all -- --check")],
            // Tests that run only when they are named are no part of all targets.
            Step::Clippy => vec![
                cargo("clippy --workspace --all-targets -- -D warnings"),
                cargo("clippy --package xtask --test containers -- -D warnings"),
            ],
            Step::Doc => {
                let mut doc = cargo("doc --workspace --no-deps --document-private-items");
                doc.env("RUSTDOCFLAGS", "-D warnings");
                vec![doc]
            }
            // xtask's own integration tests are the end-to-end ones.
            Step::Tests if self.has_nextest => vec![
                self.tests("--workspace --exclude xtask"),
                self.tests("--package xtask --bins"),
                cargo("test --workspace --doc --no-fail-fast"),
            ],
            Step::Tests => {
                vec![self.tests("--workspace --exclude xtask"), self.tests("--package xtask --bins")]
            }
            Step::Postgres => vec![self.tests("--package backend")],
            Step::Build => vec![workspace::build_command()],
            Step::EndToEnd => {
                let mut tests = self.tests("--package xtask --test it");
                tests.env(BIN_DIR, &self.bin_dir);
                vec![tests]
            }
            // One after the other: some of them take the whole stack down.
            Step::Containers if self.has_nextest => {
                vec![self.tests("--package xtask --test containers --test-threads 1")]
            }
            Step::Containers => {
                vec![cargo("test --package xtask --test containers --no-fail-fast -- --test-threads 1")]
            }
        }
    }

    fn tests(&self, selection: &str) -> Command {
        let runner = if self.has_nextest { "nextest run" } else { "test" };
        cargo(&format!("{runner} {selection} --no-fail-fast"))
    }
}

fn cargo(arguments: &str) -> Command {
    let mut command = workspace::cargo();
    command.args(arguments.split(' '));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_names_every_step_that_needs_no_engine_runs_in_order() {
        let without_engine: Vec<_> =
            Step::value_variants().iter().copied().filter(|step| *step != Step::Containers).collect();
        assert_eq!(to_run(&[]), without_engine);
        assert_eq!(to_run(&[Step::Containers]), [Step::Build, Step::Containers]);
    }

    #[test]
    fn what_a_named_step_needs_runs_before_it() {
        assert_eq!(to_run(&[Step::EndToEnd]), [Step::Build, Step::EndToEnd]);
        assert_eq!(to_run(&[Step::Clippy, Step::Fmt]), [Step::Fmt, Step::Clippy]);
    }

    #[test]
    fn a_step_is_called_what_the_command_line_calls_it() {
        for step in Step::value_variants() {
            let value = step.to_possible_value().expect("no step is hidden");
            assert_eq!(value.get_name(), step.to_string());
        }
    }

    #[test]
    fn without_nextest_the_tests_run_with_cargos_own_runner() {
        let toolbox = Toolbox { has_nextest: false, bin_dir: "/programs".into() };
        for command in
            [Step::Tests, Step::Postgres, Step::EndToEnd].iter().flat_map(|step| toolbox.commands(*step))
        {
            assert_eq!(command.get_args().next().and_then(|word| word.to_str()), Some("test"));
        }
    }
}
