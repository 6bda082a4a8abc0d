//! Configuration files take values from the environment, where they ask for it: `"${NAME}"`, or `"${NAME:-default}"`
//! with what holds when the variable is not set. So one file serves every place, and shows each of its knobs.
//!
//! Used by the edge, the backends and `cargo xtask`. Lines keep their numbers: a fault found later names the line of the
//! file as it was written.

use std::fmt;

/// A variable that a file asks for, that has no default, and that is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unset {
    /// The line that asks, from 1.
    pub line: usize,
    /// The variable's name.
    pub name: String,
}

impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment variable {} is not set", self.name)
    }
}

impl std::error::Error for Unset {}

/// The text with the process's own environment put in; an empty variable counts as unset.
pub fn from_environment(text: &str) -> Result<String, Vec<Unset>> {
    expand(text, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// The text with every variable put in, escaped for the quoted string that it stands in; comments stay as they are.
/// All variables that are missing are told at once.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, Vec<Unset>> {
    let mut expanded = String::with_capacity(text.len());
    let mut unset = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') || !line.contains("${") {
            expanded.push_str(line);
            continue;
        }
        let with_default = |name: &str| line.contains(&format!("${{{name}:-"));
        let value = |name: &str| match lookup(name) {
            Some(value) => Ok(Some(escape(&value))),
            None if with_default(name) => Ok(None),
            None => Err(name.to_owned()),
        };
        match shellexpand::env_with_context(line, value) {
            Ok(line) => expanded.push_str(&line),
            Err(error) => unset.push(Unset { line: index + 1, name: error.cause }),
        }
    }
    if unset.is_empty() { Ok(expanded) } else { Err(unset) }
}

/// As it must stand in a TOML basic string.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            control if control.is_control() => escaped.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, variables: &[(&str, &str)]) -> Result<String, Vec<Unset>> {
        expand(text, |name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_variable_wins_over_its_default() {
        let text = "a = \"${A:-127.0.0.1:80}\"\n";
        assert_eq!(with(text, &[]).as_deref(), Ok("a = \"127.0.0.1:80\"\n"));
        assert_eq!(with(text, &[("A", "[::]:443")]).as_deref(), Ok("a = \"[::]:443\"\n"));
    }

    #[test]
    fn all_missing_variables_are_told_with_their_lines() {
        let text = "# ${NOT_ASKED}\na = \"${A}\"\nb = \"${B:-x}\"\nc = \"${C}\"\n";
        let unset = with(text, &[]).expect_err("two are missing");
        assert_eq!(unset, [Unset { line: 2, name: "A".into() }, Unset { line: 4, name: "C".into() }]);
    }

    #[test]
    fn a_value_stays_inside_its_quotes() {
        let expanded = with("a = \"${A}\"", &[("A", "x\"\nb = \\")]);
        assert_eq!(expanded.as_deref(), Ok("a = \"x\\\"\\u000Ab = \\\\\""));
    }

    #[test]
    fn what_asks_for_nothing_is_left_alone() {
        let text = "exact = \"/api/calendar/{secret}.ics\"\r\n~ = \"~\"";
        assert_eq!(with(text, &[]).as_deref(), Ok(text));
    }
}
