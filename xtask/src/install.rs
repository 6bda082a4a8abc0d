//! Installs the programs that the build and the stack need, where the system's package manager is apt.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::process::geteuid;

use crate::terminal;

/// What is needed: the program, and Debian's package that holds it.
const NEEDED: [(&str, &str); 4] = [
    ("cc", "build-essential"),
    ("make", "build-essential"),
    ("cmake", "cmake"),
    ("redis-server", "redis-server"),
];

/// The fallback gateway.
const NGINX: (&str, &str) = ("nginx", "nginx");

/// What the tests run beside it: a CA for ACME, the gateway that the policy is printed for.
const TESTED_WITH: [(&str, &str); 2] = [("pebble", "pebble"), NGINX];

/// The server beside SQLite. Its programs are in no folder of anybody's PATH.
const POSTGRESQL: &str = "postgresql";
const POSTGRESQL_PROGRAMS: &str = "/usr/lib/postgresql";

/// Installs what of that is missing.
pub(crate) fn missing_programs() -> anyhow::Result<()> {
    missing(&NEEDED)
}

/// Installs what of that is missing, and the fallback gateway.
pub(crate) fn missing_programs_with_nginx() -> anyhow::Result<()> {
    missing(&[NEEDED.as_slice(), &[NGINX]].concat())
}

/// Installs what the tests need and don't have.
pub(crate) fn missing_test_programs() -> anyhow::Result<()> {
    missing(&[NEEDED.as_slice(), &TESTED_WITH].concat())?;
    missing_postgresql()
}

/// Installs PostgreSQL where no version of it is there.
pub(crate) fn missing_postgresql() -> anyhow::Result<()> {
    let has_server = |version: fs::DirEntry| version.path().join("bin/postgres").is_file();
    let mut versions = fs::read_dir(POSTGRESQL_PROGRAMS).into_iter().flatten().filter_map(Result::ok);
    if versions.any(has_server) || is_installed("postgres") {
        return Ok(());
    }
    packages(&[POSTGRESQL])
}

/// Installs what is missing of these: programs, and the packages that hold them.
pub(crate) fn missing(needed: &[(&str, &'static str)]) -> anyhow::Result<()> {
    packages(&missing_packages(needed, is_installed))
}

/// Installs these packages.
pub(crate) fn packages(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let Some(prefix) = root_prefix().filter(|_| is_installed("apt-get")) else {
        bail!("missing: {list}; install them (on Debian and Ubuntu: apt-get install {list})");
    };
    terminal::say(&format!("installing {list}"));
    apt(prefix, &["update"], &[])?;
    apt(prefix, &["install", "--yes", "--no-install-recommends"], packages)
}

fn missing_packages(
    needed: &[(&str, &'static str)],
    is_installed: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        needed.iter().filter(|(program, _)| !is_installed(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // An ordinary user's PATH often leaves out where servers are installed.
    env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into()])
        .any(|folder| folder.join(program).is_file())
}

/// What to put before a command that needs root, if we may.
fn root_prefix() -> Option<&'static [&'static str]> {
    if geteuid().is_root() {
        return Some(&[]);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sudo.status().is_ok_and(|status| status.success()).then_some(&["sudo", "-n"])
}

/// Runs apt-get. `RUNLEVEL=1` keeps it from starting the services that it installs: the stack runs a Redis of its own.
fn apt(prefix: &[&str], action: &[&str], packages: &[&str]) -> anyhow::Result<()> {
    // Another installation may be under way: it is waited for.
    let wait = ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300"];
    let words = prefix.iter().chain(&["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]).chain(&wait);
    let mut words = words.chain(action).chain(packages);
    let program = words.next().expect("`env` is always among the words");
    let status = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "apt-get {} failed ({status})", action.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_package_is_named_once() {
        assert_eq!(missing_packages(&NEEDED, |_| false), ["build-essential", "cmake", "redis-server"]);
        assert_eq!(missing_packages(&NEEDED, |program| program != "cmake"), ["cmake"]);
        assert!(missing_packages(&NEEDED, |_| true).is_empty());
    }
}
