//! The guards, and the one place that says in which order they stand.

mod allowlist;
mod origin;
mod rate_limit;
mod token;

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

pub use allowlist::Allowlist;
pub use origin::OriginGuard;
pub use rate_limit::{Quota, RATE_LIMIT, RateLimits};
pub use token::{KeyStore, TokenGuard};

use crate::config::Policy;
use crate::problem::Problem;
use crate::request::RequestView;
use crate::routes::Matched;

/// What a guard decides.
#[derive(Debug)]
pub enum Verdict {
    /// The guard has nothing to say to this request.
    Skipped,
    /// The guard lets the request pass.
    Continue,
    /// The guard answers the request; nothing behind it is asked.
    Respond(Box<Refusal>),
}

/// An answer in place of the service's.
#[derive(Debug)]
pub struct Refusal {
    /// Which guard.
    pub guard: &'static str,
    /// What the client is told.
    pub problem: Problem,
    /// Fields besides those that every answer has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Verdict {
    /// The next guard's verdict, unless this one answers the request.
    fn then(self, next: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Respond(refusal) => Self::Respond(refusal),
            Self::Skipped | Self::Continue => next(),
        }
    }

    fn refuse(guard: &'static str, problem: Problem) -> Self {
        Self::refuse_with(guard, problem, Vec::new())
    }

    fn refuse_with(guard: &'static str, problem: Problem, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self::Respond(Box::new(Refusal { guard, problem, headers }))
    }
}

/// What the guards found out on the way: later guards and the answer's fields need it.
#[derive(Debug, Default)]
pub struct Findings {
    /// The limits that counted this request, in the order they were asked.
    pub quotas: Vec<Quota>,
    /// Whose verified token the request carries.
    pub claims: Option<access_token::Claims>,
}

/// All guards of a policy.
pub struct Guards {
    allowlist: Allowlist,
    rate_limits: RateLimits,
    token: TokenGuard,
    origin: OriginGuard,
}

impl Guards {
    /// The guards that a policy asks for; `keys` is kept up to date by the key refresher.
    pub fn new(policy: &Policy, keys: Arc<KeyStore>) -> Self {
        Self {
            allowlist: Allowlist,
            rate_limits: RateLimits::new(&policy.limits),
            token: TokenGuard::new(&policy.tokens, keys),
            origin: OriginGuard,
        }
    }

    /// Asks the guards in their order: allowlist, limits by address (narrowest first), Origin, token.
    pub fn check(
        &self,
        request: &RequestView<'_>,
        matched: &Matched<'_>,
        findings: &mut Findings,
    ) -> Verdict {
        let Findings { quotas, claims } = findings;
        self.allowlist
            .check(request, matched)
            .then(|| self.rate_limits.check(request, matched, quotas))
            .then(|| self.origin.check(request, matched))
            .then(|| self.token.check(request, matched, claims))
    }

    /// The rate limits, for their housekeeping.
    pub fn rate_limits(&self) -> &RateLimits {
        &self.rate_limits
    }
}
