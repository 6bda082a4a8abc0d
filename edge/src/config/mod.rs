//! `config/edge.toml` → a valid [`Policy`], or all that is wrong with it, each fault with its place.

mod acme;
mod answers;
mod file;
mod files;
mod form;
mod pattern;
mod policy;
mod resolve;
mod route;
mod routes;
mod told;
mod transport;

use std::fmt;
use std::path::Path;

use serde::Serialize;

pub use acme::{AcmePolicy, ChallengeKind};
pub use files::{Coding, CompressionPolicy, FileFolder};
pub use pattern::{Extent, Part, Pattern, PatternError};
pub use policy::{
    Balance, CertificateFiles, ConnectionPolicy, Hsts, Limit, LimitKey, Listen, Pace, Policy,
    RevocationSource, TlsPolicy, TlsVersion, TokenPolicy, Upgrade, Upstream, UpstreamServer,
};
pub use resolve::MOST_RETRIES;
pub use route::{ClaimName, ClaimRule, Cors, Fields, FixedAnswer, Redirect, Route, Target, Tie, TokenRule};

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Line in the file, from 1; 0 where the fault has no place.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl From<config_text::Unset> for Fault {
    fn from(unset: config_text::Unset) -> Self {
        Self { line: unset.line, column: 1, message: unset.to_string() }
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, thiserror::Error)]
pub struct Faults {
    file: String,
    /// In the order of the file.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { line, column, message }) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match line {
                0 => write!(f, "{}: {message}", self.file)?,
                _ => write!(f, "{}:{line}:{column}: {message}", self.file)?,
            }
        }
        Ok(())
    }
}

/// Reads the policy of a file. Relative paths in it start at the file's folder.
pub fn load(path: &Path) -> Result<Policy, Faults> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Faults {
        file: name.clone(),
        faults: vec![Fault { line: 0, column: 0, message: format!("can't be read: {error}") }],
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    config_text::from_environment(&text)
        .map_err(|unset| unset.into_iter().map(Fault::from).collect())
        .and_then(|text| parse(&text, folder))
        .map_err(|faults| Faults { file: name, faults })
}

/// Reads the policy of a text whose variables are put in already; relative paths in it start at `folder`.
pub fn parse(text: &str, folder: &Path) -> Result<Policy, Vec<Fault>> {
    policy(text, folder).map_err(|faults| faults.into_iter().map(|fault| within(text, fault)).collect())
}

/// A fault at the end of a string that was left open lies behind what was put in for what is missing: it is shown at the end
/// of its line.
fn within(text: &str, fault: Fault) -> Fault {
    let line = text.split('\n').nth(fault.line.saturating_sub(1)).unwrap_or_default();
    Fault { column: fault.column.min(line.chars().count() + 1), ..fault }
}

fn policy(text: &str, folder: &Path) -> Result<Policy, Vec<Fault>> {
    let form::Read { file, mut faults, text: read, inserted } = form::read(text);
    faults.sort_by_key(|fault| (fault.line, fault.column));
    let Some(file) = file else { return Err(faults) };
    let (original, places) = (Places::new(text), Places::with_inserted(&read, inserted));
    match resolve::resolve(file, folder, &places) {
        Ok(policy) if faults.is_empty() => Ok(policy),
        Ok(_) => Err(faults),
        Err(of_meaning) => {
            // What a section means can't be judged while a line of it could not be read.
            let broken: Vec<usize> = faults.iter().map(|fault| original.section(fault.line)).collect();
            faults.extend(
                of_meaning.into_iter().filter(|fault| !broken.contains(&original.section(fault.line))),
            );
            faults.sort_by_key(|fault| (fault.line, fault.column));
            Err(faults)
        }
    }
}

/// Turns byte offsets of a text into lines and columns.
struct Places<'a> {
    text: &'a str,
    /// Lines, from 1 and in order, that the original doesn't have.
    inserted: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self::with_inserted(text, Vec::new())
    }

    fn with_inserted(text: &'a str, inserted: Vec<usize>) -> Self {
        Self { text, inserted }
    }

    fn fault(&self, offset: usize, message: impl Into<String>) -> Fault {
        let before = &self.text[..self.floor(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.line(offset);
        // A line that was inserted has no columns that a reader could find.
        let is_inserted = self.inserted.contains(&line);
        Fault {
            line: self.original(line).max(1),
            column: if is_inserted { 1 } else { before[line_start..].chars().count() + 1 },
            message: message.into(),
        }
    }

    /// The start of the character that an offset lies in.
    fn floor(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset)
    }

    fn line(&self, offset: usize) -> usize {
        self.text[..self.floor(offset)].matches('\n').count() + 1
    }

    /// A line's number in the original.
    fn original(&self, line: usize) -> usize {
        line - self.inserted.iter().filter(|inserted| **inserted <= line).count()
    }

    /// The line of the header that an offset stands at or below; 0 above the first.
    fn header(&self, offset: usize) -> usize {
        self.section(self.line(offset))
    }

    /// Whether an offset stands on a header's line, or above all: then it means the table, not a line of it.
    fn is_header(&self, offset: usize) -> bool {
        let header = self.header(offset);
        header == self.line(offset) || (header == 0 && offset == 0)
    }

    /// The line of the header that a line stands below; 0 above the first.
    fn section(&self, line: usize) -> usize {
        let lines = self.text.lines().enumerate().take(line);
        lines.filter(|(_, text)| text.starts_with('[')).last().map_or(0, |(index, _)| index + 1)
    }
}

#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;
