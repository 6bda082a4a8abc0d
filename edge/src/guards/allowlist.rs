//! Who may come at all: every allowlist along the path must contain the client.

use http::StatusCode;

use super::{Findings, Guard, Verdict};
use crate::problem::Problem;
use crate::request::RequestView;
use crate::routes::Matched;

/// Checks the allowlists of a request's routes.
#[derive(Debug)]
pub struct Allowlist;

impl Guard for Allowlist {
    fn name(&self) -> &'static str {
        "allowlist"
    }

    /// 403 unless the client is in every allowlist along the path. An empty list lets nobody in.
    fn check(&self, request: &RequestView<'_>, matched: &Matched<'_>, _: &mut Findings) -> Verdict {
        let mut verdict = Verdict::Skipped;
        for networks in matched.along_the_path().filter_map(|route| route.allow.as_ref()) {
            if !networks.iter().any(|network| network.contains(&request.client)) {
                return Verdict::refuse(self.name(), address_not_allowed());
            }
            verdict = Verdict::Continue;
        }
        verdict
    }

    fn looks_at(&self, _: &RequestView<'_>, matched: &Matched<'_>) -> String {
        let words = |networks: &Vec<_>| super::join(networks, "nobody");
        let lists: Vec<_> =
            matched.along_the_path().filter_map(|route| route.allow.as_ref()).map(words).collect();
        if lists.is_empty() { "no allowlist along the path".to_owned() } else { lists.join(" and ") }
    }
}

/// What a client is told that lists of addresses keep out.
pub fn address_not_allowed() -> Problem {
    let detail = "This part of the site is open to named addresses only.";
    Problem::new("address-not-allowed", StatusCode::FORBIDDEN, detail)
}
