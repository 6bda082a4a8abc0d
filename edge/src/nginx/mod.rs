//! The policy as configuration for stock nginx (1.22 and newer), and what stock nginx can't do of it.
//!
//! ```text
//! admission (arrival.rs) ─ case (cases.rs) ─ lists, limits, token (guards.rs) ─ way (ways.rs)
//!                                           └ problems.rs                     └ answers.rs: fields
//! ```
//!
//! The order is the edge's: what `return` refuses comes before `limit_req`, that before `auth_request`, and the location
//! that answers is chosen last, by `try_files` with a variable. A guard that can't be expressed is an error.

mod about;
mod answers;
mod arrival;
mod cases;
mod differences;
mod document;
mod guards;
mod media;
mod problems;
mod servers;
mod tls;
mod ways;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};

use http::uri::Authority;

pub use about::About;
pub use differences::Difference;

use self::servers::Parts;
use self::ways::{Ways, tidy};
use crate::config::Policy;
use crate::routes::RouteTable;

/// What a limit's clients may take in memory that workers share: about 8,000 clients a MiB.
const ZONE: &str = "10m";
/// Bytes of a route's path that are the same in a canonical path and when nginx has decoded it.
const PATH_BYTES: &[u8] = b"-._~:@!$&'()*+,=";

/// A configuration, and how it differs.
#[derive(Debug)]
pub struct Rendered {
    /// The text for nginx.
    pub config: String,
    /// The same differences as a page (Markdown).
    pub notes: String,
    /// What stock nginx does otherwise than the edge.
    pub differences: Vec<Difference>,
}

/// What can't be said to stock nginx, and would let somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inexpressible {
    /// What it is.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// Everything that can't be said; never empty.
#[derive(Debug, thiserror::Error)]
pub struct Faults(pub Vec<Inexpressible>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Inexpressible { what, why }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}stock nginx can't express {what}: {why}")?;
        }
        Ok(())
    }
}

/// How the configuration names files.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder that relative paths start at, written out; `None`: they stay relative to the one that nginx is started
    /// for (`-p`), so that the text is the same on every machine. The configuration then lies one folder below it.
    pub root: Option<PathBuf>,
    /// Where nginx keeps what it writes: its process id and what is too large for memory.
    pub state: PathBuf,
}

impl Places {
    /// A file as most directives want it.
    fn of(&self, path: &Path) -> String {
        let path = self.root.as_ref().map_or_else(|| path.to_owned(), |root| root.join(path));
        let tidy = tidy(&path);
        if tidy.as_os_str().is_empty() { ".".to_owned() } else { tidy.display().to_string() }
    }

    /// The same for directives whose relative paths start where the configuration lies.
    fn beside(&self, path: &Path) -> String {
        let place = self.of(path);
        if Path::new(&place).is_absolute() { place } else { format!("../{place}") }
    }
}

/// The configuration that makes stock nginx do what the policy says.
pub fn render(policy: &Policy, places: &Places) -> Result<Rendered, Faults> {
    let table = RouteTable::new(policy.routes.clone());
    let methods = cases::methods(policy);
    let mut faults = names_faults(policy);
    let cases = match cases::cases(policy, &table, &methods) {
        Ok(cases) => cases,
        Err(more) => {
            faults.extend(more);
            return Err(Faults(faults));
        }
    };
    let (rates, shown) = match (guards::rates(policy, &cases), tls::shown(policy)) {
        (Ok(rates), Ok(shown)) if faults.is_empty() => (rates, shown),
        (rates, shown) => {
            faults.extend(rates.err().into_iter().flatten().chain(shown.err().into_iter().flatten()));
            return Err(Faults(faults));
        }
    };
    let ways = Ways::of(policy, &cases);
    let differences = differences::of(policy, &cases, &rates);
    let parts = Parts { policy, cases: &cases, rates: &rates, ways: &ways, shown: &shown, places };
    let config = document::config(&parts, &differences);
    let notes = differences::notes(&differences);
    Ok(Rendered { config, notes, differences })
}

/// Names that nginx would read otherwise.
fn names_faults(policy: &Policy) -> Vec<Inexpressible> {
    let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let upstreams = policy.upstreams.iter().map(|upstream| ("upstream", &upstream.name));
    let hosts = policy.hosts.iter().map(|host| ("host", host));
    let is_host =
        |host: &str| is_plain(host) || host.parse::<Authority>().is_ok_and(|_| host.starts_with('['));
    upstreams
        .filter(|(_, name)| !is_plain(name))
        .chain(hosts.filter(|(_, host)| !is_host(host)))
        .map(|(kind, name)| Inexpressible {
            what: format!("the {kind} `{name}`"),
            why: "its name has letters, digits, `-`, `_` and `.`".to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
