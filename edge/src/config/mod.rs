//! `config/edge.toml` → a valid [`Policy`], or all that is wrong with it, each fault with its place.

mod file;
mod pattern;
mod policy;
mod resolve;

use std::fmt;
use std::path::Path;

pub use pattern::{Extent, Pattern, PatternError};
pub use policy::{
    Limit, Listen, Policy, Route, Target, TlsFiles, TokenPolicy, TokenRule, Upstream, UpstreamServer,
};

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1; 0 where the fault has no place.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
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
    parse(&text, folder).map_err(|faults| Faults { file: name, faults })
}

/// Reads the policy of a text; relative paths in it start at `folder`.
pub fn parse(text: &str, folder: &Path) -> Result<Policy, Vec<Fault>> {
    let places = Places::new(text);
    let file = toml::from_str::<file::File>(text).map_err(|error| {
        vec![places.fault(error.span().map_or(0, |span| span.start), error.message().replace('\n', ", "))]
    })?;
    resolve::resolve(file, folder, &places)
}

/// Turns byte offsets of a text into lines and columns.
struct Places<'a> {
    text: &'a str,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { text }
    }

    fn fault(&self, offset: usize, message: impl Into<String>) -> Fault {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Fault {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }
}
