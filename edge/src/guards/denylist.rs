//! Who may not come, allowed or not: no denylist along the path may contain the client.

use super::{Findings, Guard, Verdict};
use crate::request::RequestView;
use crate::routes::Matched;

/// Checks the denylists of a request's routes.
#[derive(Debug)]
pub struct Denylist;

impl Guard for Denylist {
    fn name(&self) -> &'static str {
        "denylist"
    }

    /// 403 if any list along the path has the client; it is told what a client outside an allowlist is told.
    fn check(&self, request: &RequestView<'_>, matched: &Matched<'_>, _: &mut Findings) -> Verdict {
        let mut verdict = Verdict::Skipped;
        for network in matched.along_the_path().flat_map(|route| &route.deny) {
            if network.contains(&request.client) {
                return Verdict::refuse(self.name(), super::allowlist::address_not_allowed());
            }
            verdict = Verdict::Continue;
        }
        verdict
    }

    fn looks_at(&self, _: &RequestView<'_>, matched: &Matched<'_>) -> String {
        let networks: Vec<_> = matched.along_the_path().flat_map(|route| &route.deny).collect();
        super::join(&networks, "no denylist along the path")
    }
}
