//! How many connections this process may hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any measurement needs.
const WANTED: u64 = 20_000;
/// Kept for what is not an attacker's connection.
const RESERVED: u64 = 500;

/// Raises the limit of open files as far as it may be, and says how many connections an attack may hold.
pub(crate) fn raise() -> anyhow::Result<usize> {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.map_or(WANTED, |hard| hard.min(WANTED));
    let current = now.current.unwrap_or(WANTED).max(most);
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: now.maximum })?;
    Ok(usize::try_from(current.saturating_sub(RESERVED))?)
}
