//! A policy that is read again while the edge runs. All of it is read, checked and built first, then put in force at once;
//! on any fault nothing changes, and the fault is told.

use std::sync::Arc;

use anyhow::ensure;

use super::Edge;
use crate::config::{self, Policy};
use crate::site::Site;

impl Edge {
    /// Reads the configuration and the certificates again. One doesn't wait for the other: a certificate that was renewed
    /// is shown also while there is a fault in the policy.
    pub(super) fn reload(&self) {
        let result = match self.try_reload() {
            Ok(()) => {
                tracing::info!(file = %self.file.display(), "the policy was read again");
                "ok"
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(%error, "the policy is refused; the old one stays in force");
                "refused"
            }
        };
        ::metrics::counter!("edge_policy_reloads_total", "result" => result).increment(1);
        self.tls.reload();
    }

    fn try_reload(&self) -> anyhow::Result<()> {
        let policy = Arc::new(config::load(&self.file)?);
        let fixed = changed_for_good(&self.policy, &policy);
        ensure!(
            fixed.is_empty(),
            "{} can't change while the edge runs: upgrade or restart it",
            fixed.join(", ")
        );
        let tls = self.tls.prepare(&policy)?;
        let site = Site::new(Arc::clone(&policy), &self.shared, Some(&self.sites.current()));
        // From here on nothing fails.
        self.tls.commit(tls);
        self.door.change(&policy);
        self.redirect.change(policy.hosts.clone());
        self.pools.store(Arc::clone(&site.pools));
        self.sites.replace(site);
        Ok(())
    }
}

/// What stands at the beginning of a process and differs between two policies.
fn changed_for_good(old: &Policy, new: &Policy) -> Vec<&'static str> {
    let is_changed = [
        ("`listen`", old.listen != new.listen),
        ("`acme`", old.acme != new.acme),
        ("`tls.ticket_keys`", old.tls.ticket_keys != new.tls.ticket_keys),
        ("`tokens.revocations`", old.tokens.revocations != new.tokens.revocations),
        ("`upgrade.socket`", old.upgrade.socket != new.upgrade.socket),
    ];
    is_changed.into_iter().filter_map(|(name, is_changed)| is_changed.then_some(name)).collect()
}
