//! The guards, and the one place that says in which order they stand.

mod allowlist;
mod cors;
mod denylist;
mod origin;
mod rate_limit;
mod token;

use std::sync::Arc;

use access_token::{Revocations, VerifiedTokens};
use http::{HeaderName, HeaderValue, StatusCode};

pub use allowlist::{Allowlist, address_not_allowed};
pub use cors::Preflight;
pub use denylist::Denylist;
pub use origin::OriginGuard;
pub use rate_limit::{AddressLimits, Quota, RATE_LIMIT, RateLimits, UserLimits};
pub use token::{KeyStore, NAME as TOKEN_GUARD, TokenGuard};

use crate::config::{Policy, TokenPolicy};
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
    /// The guard answers the request, and nothing is wrong with it.
    Answer(Box<Answer>),
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

/// An answer without a body, to a request that was for the edge itself.
#[derive(Debug)]
pub struct Answer {
    /// Which guard.
    pub guard: &'static str,
    /// The status.
    pub status: StatusCode,
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
    pub claims: Option<Arc<access_token::Claims>>,
}

/// One guard: a file of its own, and a line in [`Guards::new`].
pub trait Guard: Send + Sync {
    /// Its name in answers' logs, metrics and explanations.
    fn name(&self) -> &'static str;

    /// What it decides of a request that has passed all guards before it. What it found out on the way, it leaves in the
    /// findings.
    fn check(&self, request: &RequestView<'_>, matched: &Matched<'_>, findings: &mut Findings) -> Verdict;

    /// What it looks at, in words for a person who wants to know why it decides as it does.
    fn looks_at(&self, request: &RequestView<'_>, matched: &Matched<'_>) -> String;
}

/// All guards of a policy.
pub struct Guards {
    in_order: Vec<Box<dyn Guard>>,
    rate_limits: Arc<RateLimits>,
    tokens: RememberedTokens,
}

/// Tokens that were verified, and whose they must be.
struct RememberedTokens {
    issuer: String,
    audience: String,
    verified: Arc<VerifiedTokens>,
}

impl RememberedTokens {
    /// What is remembered holds for as long as the same tokens are asked for.
    fn new(policy: &TokenPolicy, previous: Option<&Self>) -> Self {
        let TokenPolicy { issuer, audience, .. } = policy;
        let known = previous.filter(|known| known.issuer == *issuer && known.audience == *audience);
        let verified = known.map_or_else(|| token::fresh(policy), |known| Arc::clone(&known.verified));
        Self { issuer: issuer.clone(), audience: audience.clone(), verified }
    }
}

impl Guards {
    /// The guards, in the order in which they stand. A refusal charges only the limits that were asked before it. `keys` and
    /// `revocations` are kept up to date by the key refresher and the revocation feed. What `previous` ones remember of
    /// clients is taken over.
    pub fn new(
        policy: &Policy,
        keys: Arc<KeyStore>,
        revocations: Arc<Revocations>,
        previous: Option<&Self>,
    ) -> Self {
        let rate_limits = RateLimits::new(&policy.limits, previous.map(|previous| &*previous.rate_limits));
        let tokens = RememberedTokens::new(&policy.tokens, previous.map(|previous| &previous.tokens));
        let in_order: Vec<Box<dyn Guard>> = vec![
            Box::new(Denylist),
            Box::new(Allowlist),
            Box::new(AddressLimits(Arc::clone(&rate_limits))),
            Box::new(Preflight),
            Box::new(OriginGuard),
            Box::new(TokenGuard::new(Arc::clone(&tokens.verified), keys, revocations)),
            Box::new(UserLimits(Arc::clone(&rate_limits))),
        ];
        Self { in_order, rate_limits, tokens }
    }

    /// The guards in their order.
    pub fn in_order(&self) -> impl Iterator<Item = &dyn Guard> {
        self.in_order.iter().map(AsRef::as_ref)
    }

    /// Asks the guards in their order; the first that answers the request ends it.
    pub fn check(
        &self,
        request: &RequestView<'_>,
        matched: &Matched<'_>,
        findings: &mut Findings,
    ) -> Verdict {
        for guard in &self.in_order {
            match guard.check(request, matched, findings) {
                Verdict::Skipped | Verdict::Continue => {}
                end @ (Verdict::Respond(_) | Verdict::Answer(_)) => return end,
            }
        }
        Verdict::Continue
    }

    /// The rate limits, for their housekeeping.
    pub fn rate_limits(&self) -> &RateLimits {
        &self.rate_limits
    }
}

fn join(items: &[impl ToString], none: &str) -> String {
    match items {
        [] => none.to_owned(),
        _ => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
