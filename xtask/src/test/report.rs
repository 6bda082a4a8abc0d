//! The table that ends a test run.

use std::fmt::Write;
use std::time::Duration;

use crate::test::counts::Counts;
use crate::test::steps::Step;

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed(Counts),
    Failed(Counts),
    /// What it needs has failed.
    NotRun,
}

/// One step's line of the table.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) step: Step,
    pub(crate) outcome: Outcome,
    pub(crate) time: Duration,
}

impl Outcome {
    /// Judges a step by its counts. A run of tests in which there were none proves nothing, and so has failed.
    pub(crate) fn of(step: Step, counts: Counts) -> Self {
        let ran_none = step.has_tests() && counts == Counts::default();
        if ran_none {
            Self::Failed(Counts { failed: 1, ..counts })
        } else if counts.failed > 0 {
            Self::Failed(counts)
        } else {
            Self::Passed(counts)
        }
    }

    pub(crate) fn is_failure(&self) -> bool {
        !matches!(self, Self::Passed(_))
    }

    fn counts(&self) -> Counts {
        match self {
            Self::Passed(counts) | Self::Failed(counts) => *counts,
            Self::NotRun => Counts { failed: 1, ..Counts::default() },
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Passed(_) => "ok",
            Self::Failed(_) => "FAILED",
            Self::NotRun => "NOT RUN",
        }
    }
}

/// The table, and the sum of all steps on the last line.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "\n{:<12} {:<8} {:>9} {:>8} {:>8} {:>8}\n",
        "step", "result", "time", "passed", "failed", "skipped"
    );
    let mut total = Counts::default();
    for Line { step, outcome, time } in lines {
        let counts = outcome.counts();
        total += counts;
        let time = format!("{:.1} s", time.as_secs_f64());
        let numbers = if step.has_tests() {
            format!("{:>8} {:>8} {:>8}", counts.passed, counts.failed, counts.skipped)
        } else {
            String::new()
        };
        let line = format!("{:<12} {:<8} {time:>9} {numbers}", step.to_string(), outcome.name());
        writeln!(text, "{}", line.trim_end()).expect("a String takes all text");
    }
    write!(text, "\n{} passed, {} failed", total.passed, total.failed).expect("a String takes all text");
    if total.skipped > 0 {
        write!(text, ", {} skipped", total.skipped).expect("a String takes all text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: Step, passed: u64, failed: u64, skipped: u64) -> Line {
        let outcome = Outcome::of(step, Counts { passed, failed, skipped });
        Line { step, outcome, time: Duration::from_millis(1234) }
    }

    fn last_line(lines: &[Line]) -> String {
        table(lines).lines().last().expect("a table has lines").to_owned()
    }

    #[test]
    fn the_last_line_sums_up_all_steps() {
        let all = [line(Step::Clippy, 0, 0, 0), line(Step::Tests, 40, 0, 0)];
        assert_eq!(last_line(&all), "40 passed, 0 failed");
        let all = [line(Step::Tests, 40, 2, 1), line(Step::EndToEnd, 5, 0, 0)];
        assert_eq!(last_line(&all), "45 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn a_failed_check_and_a_step_that_was_not_run_count_as_failures() {
        let not_run = Line { step: Step::EndToEnd, outcome: Outcome::NotRun, time: Duration::ZERO };
        assert_eq!(last_line(&[line(Step::Build, 0, 1, 0), not_run]), "0 passed, 2 failed");
    }

    #[test]
    fn a_test_run_without_tests_is_a_failure() {
        assert!(Outcome::of(Step::Tests, Counts::default()).is_failure());
        assert!(!Outcome::of(Step::Fmt, Counts::default()).is_failure());
    }

    #[test]
    fn where_nothing_may_be_skipped_a_skip_is_a_failure() {
        let counts = Counts { passed: 3, failed: 0, skipped: 1 }.with_skips_as_failures();
        assert!(Outcome::of(Step::Tests, counts).is_failure());
    }

    #[test]
    fn each_step_has_its_line() {
        let text = table(&[line(Step::Fmt, 0, 0, 0), line(Step::Tests, 3, 1, 0)]);
        assert!(text.contains("fmt          ok           1.2 s\n"), "{text}");
        assert!(text.contains("tests        FAILED       1.2 s        3        1        0\n"), "{text}");
    }
}
