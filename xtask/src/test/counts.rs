//! How many tests passed, failed and were skipped, as cargo's test runners say it.

use std::ops::AddAssign;

/// The outcome of a number of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Counts {
    /// What `line` says, if it is a runner's summary.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let line = without_colours(line);
        // Indented, it is what a failed test has said, which nextest repeats.
        if let Some(summary) = line.strip_prefix("test result: ") {
            let (_, numbers) = summary.split_once(". ")?;
            return Some(Self::sum_of(numbers.split(';')));
        }
        let (_, numbers) = line.trim().strip_prefix("Summary [")?.split_once(" run: ")?;
        Some(Self::sum_of(numbers.split(',')))
    }

    /// A test that was skipped where none may be.
    pub(crate) fn with_skips_as_failures(self) -> Self {
        Self { passed: self.passed, failed: self.failed + self.skipped, skipped: 0 }
    }

    fn sum_of<'a>(parts: impl Iterator<Item = &'a str>) -> Self {
        let mut counts = Self::default();
        for part in parts {
            let mut words = part.split_ascii_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
            // nextest: "3 passed (1 slow)", "1 timed out", "1 exec failed".
            match words.next() {
                Some("passed") => counts.passed += number,
                Some("failed" | "timed" | "exec") => counts.failed += number,
                Some("skipped" | "ignored") => counts.skipped += number,
                // "measured" and "filtered out" say nothing about tests that were to run.
                _ => {}
            }
        }
        counts
    }
}

/// Without the escape sequences that colour a terminal's text (ECMA-48, SGR).
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn the_summary_of_cargo_test_is_read() {
        let line =
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 7 filtered out; finished in 0.10s";
        assert_eq!(Counts::from_line(line), counts(12, 0, 3));
        let line = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(Counts::from_line(line), counts(1, 2, 0));
    }

    #[test]
    fn the_summary_of_nextest_is_read() {
        let line = "     Summary [   1.126s] 15 tests run: 15 passed, 0 skipped";
        assert_eq!(Counts::from_line(line), counts(15, 0, 0));
        let line = "     Summary [  61.0s] 9/10 tests run: 5 passed (1 slow, 1 flaky), 2 failed, 1 exec failed, 1 timed out, 4 skipped";
        assert_eq!(Counts::from_line(line), counts(5, 4, 4));
        assert_eq!(
            Counts::from_line("     Summary [   0.1s] 1 test run: 1 passed, 0 skipped"),
            counts(1, 0, 0)
        );
    }

    #[test]
    fn colours_are_no_part_of_a_summary() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.163s] \u{1b}[1m29\u{1b}[0m tests run: \u{1b}[1m29\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m \u{1b}[33;1mskipped\u{1b}[0m";
        assert_eq!(Counts::from_line(line), counts(29, 0, 0));
    }

    #[test]
    fn other_lines_are_no_summary() {
        let repeated = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured";
        for line in [
            "",
            "running 3 tests",
            "test a ... ok",
            "error: test run failed",
            "    Summary of changes",
            repeated,
        ] {
            assert_eq!(Counts::from_line(line), None, "{line}");
        }
    }
}
