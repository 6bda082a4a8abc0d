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

/// The guards by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Who may come at all.
    Allowlist,
    /// How often; narrow limits before wide ones.
    RateLimits,
    /// Which pages may open a WebSocket.
    Origin,
    /// Who it is, and in which role.
    Token,
}

/// The order in which the guards stand. A refusal charges only the limits that were asked before it.
pub const ORDER: [Guard; 4] = [Guard::Allowlist, Guard::RateLimits, Guard::Origin, Guard::Token];

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

    /// Asks the guards in their order; the first that answers the request ends it.
    pub fn check(
        &self,
        request: &RequestView<'_>,
        matched: &Matched<'_>,
        findings: &mut Findings,
    ) -> Verdict {
        for guard in ORDER {
            if let Verdict::Respond(refusal) = self.ask(guard, request, matched, findings) {
                return Verdict::Respond(refusal);
            }
        }
        Verdict::Continue
    }

    /// What one guard says to a request.
    pub fn ask(
        &self,
        guard: Guard,
        request: &RequestView<'_>,
        matched: &Matched<'_>,
        findings: &mut Findings,
    ) -> Verdict {
        match guard {
            Guard::Allowlist => self.allowlist.check(request, matched),
            Guard::RateLimits => self.rate_limits.check(request, matched, &mut findings.quotas),
            Guard::Origin => self.origin.check(request, matched),
            Guard::Token => self.token.check(request, matched, &mut findings.claims),
        }
    }

    /// The rate limits, for their housekeeping.
    pub fn rate_limits(&self) -> &RateLimits {
        &self.rate_limits
    }
}
