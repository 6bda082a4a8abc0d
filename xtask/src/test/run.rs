//! Runs one command: its output goes on to the terminal as it comes, and its tests are counted.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stderr, stdout};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};

use crate::test::counts::Counts;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct CommandOutcome {
    success: bool,
    counts: Counts,
}

impl CommandOutcome {
    /// The counts, with a failure that no test accounts for, such as a test that doesn't compile, as one more.
    pub(crate) fn all_counts(&self) -> Counts {
        let unaccounted = u64::from(!self.success && self.counts.failed == 0);
        Counts { failed: self.counts.failed + unaccounted, ..self.counts }
    }
}

/// Runs `command` to its end.
pub(crate) fn run(mut command: Command) -> anyhow::Result<CommandOutcome> {
    if stdout().is_terminal() {
        // The output goes through us; its reader is a person all the same.
        command.env("CARGO_TERM_COLOR", "always");
    }
    run_into(command, stdout(), stderr())
}

/// Likewise, with the output going wherever it is told to.
fn run_into(
    mut command: Command,
    output_to: impl Write,
    errors_to: impl Write + Send,
) -> anyhow::Result<CommandOutcome> {
    let program = command.get_program().to_owned();
    let context = || format!("cannot run {}", program.display());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(context)?;
    let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("a command's output can't be read");
    };
    let counts = thread::scope(|scope| {
        let errors = scope.spawn(|| pass_on(errors, errors_to));
        let mut counts = pass_on(output, output_to);
        counts += errors.join().expect("passing lines on doesn't panic");
        counts
    });
    let status = child.wait().with_context(context)?;
    Ok(CommandOutcome { success: status.success(), counts })
}

/// Copies `from` to `to` line by line, and adds up the summaries among them.
fn pass_on(from: impl Read, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        // Whoever has closed the terminal doesn't want to read it; the tests go on.
        let _ = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
        if let Some(summary) = Counts::from_line(&String::from_utf8_lossy(&line)) {
            counts += summary;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its output is kept from our own, in which somebody may be counting summaries.
    fn shell(script: &str) -> (CommandOutcome, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut output = Vec::new();
        let outcome = run_into(command, &mut output, std::io::sink()).expect("sh runs");
        (outcome, String::from_utf8(output).expect("text"))
    }

    #[test]
    fn summaries_of_both_outputs_are_added_up() {
        let (outcome, _) = shell(
            "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out'
             echo '     Summary [ 0.1s] 3 tests run: 2 passed, 1 failed, 0 skipped' >&2
             exit 100",
        );
        assert!(!outcome.success);
        assert_eq!(outcome.counts, Counts { passed: 4, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_failure_that_no_test_accounts_for_counts_as_one() {
        assert_eq!(shell("exit 101").0.all_counts(), Counts { failed: 1, ..Counts::default() });
        let (outcome, _) = shell("echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored'; exit 101");
        assert_eq!(outcome.all_counts(), Counts { passed: 3, failed: 2, skipped: 0 });
    }

    #[test]
    fn a_command_without_tests_counts_none_and_its_output_is_passed_on() {
        let (outcome, output) = shell("echo built");
        assert!(outcome.success);
        assert_eq!(output, "built\n");
        assert_eq!(outcome.counts, Counts::default());
    }
}
