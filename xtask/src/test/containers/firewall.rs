//! The system's packet filter, put back as it was after an engine that leaves its rules behind.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// One protocol's commands.
const PROTOCOLS: [(&str, &str); 2] =
    [("iptables-save", "iptables-restore"), ("ip6tables-save", "ip6tables-restore")];
/// Tables that an engine writes into, with the chains that each has from the start. One that isn't there yet counts as
/// empty; only a table that is named is emptied.
const TABLES: [(&str, &[&str]); 3] = [
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("raw", &["PREROUTING", "OUTPUT"]),
];

/// All rules, by the command that puts them back.
pub(super) struct Firewall {
    rules: Vec<(&'static str, String)>,
}

impl Firewall {
    /// Reads the rules that hold now.
    pub(super) fn save() -> Self {
        let rules = |(save, restore): (&str, &'static str)| {
            // A system without the one protocol has no rules for it, and no command.
            let output = Command::new(save).output().ok().filter(|output| output.status.success())?;
            Some((restore, complete(String::from_utf8_lossy(&output.stdout).into_owned())))
        };
        Self { rules: PROTOCOLS.into_iter().filter_map(rules).collect() }
    }

    /// Makes them hold again.
    pub(super) fn restore(&self) -> anyhow::Result<()> {
        for (restore, rules) in &self.rules {
            let context = || format!("cannot run {restore}");
            let mut command = Command::new(restore).stdin(Stdio::piped()).spawn().with_context(context)?;
            command.stdin.take().with_context(context)?.write_all(rules.as_bytes()).with_context(context)?;
            ensure!(command.wait().with_context(context)?.success(), "{restore} failed");
        }
        Ok(())
    }
}

fn complete(mut rules: String) -> String {
    for (table, chains) in TABLES {
        if rules.lines().any(|line| line.strip_prefix('*') == Some(table)) {
            continue;
        }
        let chains: String = chains.iter().map(|chain| format!(":{chain} ACCEPT [0:0]\n")).collect();
        rules.push_str(&format!("*{table}\n{chains}COMMIT\n"));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_not_there_is_put_back_empty() {
        let filter = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n";
        let rules = complete(filter.to_owned());
        assert!(rules.starts_with(filter), "{rules}");
        assert_eq!(rules.matches("*filter").count(), 1, "{rules}");
        assert!(rules.contains("*nat\n:PREROUTING ACCEPT [0:0]\n"), "{rules}");
    }
}
