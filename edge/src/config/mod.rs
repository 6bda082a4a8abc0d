//! `config/edge.toml` → a valid [`Policy`], or all that is wrong with it, each fault with its place.

mod acme;
mod answers;
mod file;
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
pub use pattern::{Extent, Part, Pattern, PatternError};
pub use policy::{
    CertificateFiles, ConnectionPolicy, Hsts, Limit, LimitKey, Listen, Pace, Policy, TlsPolicy, TlsVersion,
    TokenPolicy, Upstream, UpstreamServer,
};
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
    let places = Places::new(text);
    let (file, mut faults) = form::read(text, &places);
    faults.sort_by_key(|fault| (fault.line, fault.column));
    let Some(file) = file else { return Err(faults) };
    match resolve::resolve(file, folder, &places) {
        Ok(policy) if faults.is_empty() => Ok(policy),
        Ok(_) => Err(faults),
        Err(of_meaning) => {
            // What a section means can't be judged while a line of it could not be read.
            let broken: Vec<usize> = faults.iter().map(|fault| places.section(fault.line)).collect();
            faults
                .extend(of_meaning.into_iter().filter(|fault| !broken.contains(&places.section(fault.line))));
            faults.sort_by_key(|fault| (fault.line, fault.column));
            Err(faults)
        }
    }
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

    /// The line of the header that a line stands below; 0 above the first.
    fn section(&self, line: usize) -> usize {
        let lines = self.text.lines().enumerate().take(line);
        lines.filter(|(_, text)| text.starts_with('[')).last().map_or(0, |(index, _)| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// The shipped file as it is without any variable set.
    static SHIPPED: LazyLock<String> = LazyLock::new(|| {
        config_text::expand(include_str!("../../../config/edge.toml"), |_| None)
            .expect("every variable has a default")
    });

    fn faults(text: &str) -> Vec<String> {
        let faults = parse(text, Path::new("/")).expect_err("a faulty config");
        faults.into_iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect()
    }

    #[test]
    fn the_shipped_configuration_is_valid() {
        parse(&SHIPPED, Path::new("/")).expect("valid");
    }

    #[test]
    fn all_faults_are_told_at_once_with_their_lines() {
        let text = SHIPPED
            .replace("127.0.0.1/32", "127.0.0.1/33")
            .replace("limits = [\"admin\"]", "limits = [\"nobody\"]")
            .replace("roles = [\"admin\"]", "roles = [\"boss\"]")
            .replace("exact = \"/api/openapi.json\"", "exact = \"/api/vendors\"");
        let line_of = |needle: &str| {
            let offset = text.find(needle).expect("is there");
            text[..offset].matches('\n').count() + 1
        };
        let expected = [
            format!("{}: `127.0.0.1/33` is not a network such as 10.0.0.0/8", line_of("127.0.0.1/33")),
            format!("{}: no limit is named `nobody`", line_of("nobody")),
            format!("{}: unknown role `boss`: expected user, vendor or admin", line_of("boss")),
        ];
        let told = faults(&text);
        assert_eq!(told[..3], expected);
        assert!(told[3].contains("the same host, path and method as the route of line"), "{told:?}");
        assert_eq!(told.len(), 4);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let told = faults(&SHIPPED.replace("grace_seconds", "grase_seconds"));
        let line = SHIPPED[..SHIPPED.find("grace_seconds").expect("is there")].matches('\n').count() + 1;
        assert!(told[0].starts_with(&format!("{line}: unknown field `grase_seconds`")), "{told:?}");
    }

    #[test]
    fn faults_of_form_and_of_meaning_are_told_together() {
        let text = SHIPPED
            .replace("websocket = true", "websocket = \"yes\"")
            .replace("limits = [\"admin\"]", "limitz = [\"admin\"]")
            .replace("[limits.site]", "[limit]\nx = 1\ny = 2\n[limits.site]")
            .replace("127.0.0.1/32", "127.0.0.1/33");
        let told = faults(&text);
        for part in
            ["invalid type: string", "unknown field `limit`", "127.0.0.1/33", "unknown field `limitz`"]
        {
            assert_eq!(told.iter().filter(|fault| fault.contains(part)).count(), 1, "{part}: {told:#?}");
        }
        assert_eq!(told.len(), 4, "{told:#?}");
    }

    #[test]
    fn a_limit_that_limits_nothing_is_refused() {
        for (requests, seconds) in [("0", "60"), ("10", "0"), ("4000000000", "1")] {
            let limit = format!("[limits.login]\nrequests = {requests}\nseconds = {seconds}\n");
            let told = faults(&SHIPPED.replace("[limits.login]\nrequests = 10\nseconds = 60\n", &limit));
            assert!(told.iter().all(|fault| fault.contains("limit `login`")), "{told:#?}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_is_not_told_again_as_missing() {
        let told = faults(&SHIPPED.replace("grace_seconds = 2", "grace_seconds = \"two\""));
        assert_eq!(told.len(), 1, "{told:#?}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_one_fault() {
        assert_eq!(faults("hosts = [").len(), 1);
        assert_eq!(faults("").len(), 1);
    }

    #[test]
    fn crossing_routes_are_refused() {
        let routes = "[[routes]]\nexact = \"/x/{a}/c\"\nfiles = \"w\"\n[[routes]]\nexact = \"/x/b/{a}\"\nfiles = \"w\"\n";
        assert!(faults(&format!("{}\n{routes}", *SHIPPED))[0].contains("neither is narrower"));
    }
}
