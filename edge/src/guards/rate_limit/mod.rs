//! How often a client may come: exact GCRA budgets, by client address, by user, or by both.

mod budgets;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::{Quota as Rate, RateLimiter};
use http::{HeaderName, HeaderValue, StatusCode, header};

use self::budgets::{Budgets, SinceStart, seconds_until};
use super::{Findings, Guard, Verdict};
use crate::client_ip::network_key;
use crate::config::{Limit, LimitKey};
use crate::problem::Problem;
use crate::request::RequestView;
use crate::routes::Matched;

/// Clients that a limit remembers one by one: 4 MiB. What becomes of more, `budgets` says.
const MOST_CLIENTS: usize = 1 << 18;

/// `RateLimit: "login";r=3;t=37`
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// `RateLimit-Policy: "login";q=10;w=60`
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

type Limiter = RateLimiter<u64, Budgets<SinceStart>, SinceStart, StateInformationMiddleware>;

/// What a limit says about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which limit (index into the policy's limits).
    pub limit: usize,
    /// Requests that would pass right now.
    pub remaining: u32,
    /// Seconds until the whole budget is there again; on a refusal, until the next request passes.
    pub reset_seconds: u64,
}

/// All limits of a policy, with their clients.
pub struct RateLimits {
    limits: Vec<LimitState>,
    hasher: RandomState,
    clock: SinceStart,
}

struct LimitState {
    limit: Limit,
    budgets: Budgets<SinceStart>,
    limiter: Limiter,
}

/// Limits that are known by the address alone, asked before anybody is recognised.
pub struct AddressLimits(pub Arc<RateLimits>);

/// Limits of users, asked once it is known who it is.
pub struct UserLimits(pub Arc<RateLimits>);

impl Guard for AddressLimits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn check(&self, request: &RequestView<'_>, matched: &Matched<'_>, findings: &mut Findings) -> Verdict {
        self.0.check(&[LimitKey::Address], request, matched, findings)
    }

    fn looks_at(&self, request: &RequestView<'_>, matched: &Matched<'_>) -> String {
        self.0.words(&[LimitKey::Address], request, matched)
    }
}

impl Guard for UserLimits {
    fn name(&self) -> &'static str {
        "user limits"
    }

    fn check(&self, request: &RequestView<'_>, matched: &Matched<'_>, findings: &mut Findings) -> Verdict {
        self.0.check(&[LimitKey::User, LimitKey::Both], request, matched, findings)
    }

    fn looks_at(&self, request: &RequestView<'_>, matched: &Matched<'_>) -> String {
        self.0.words(&[LimitKey::User, LimitKey::Both], request, matched)
    }
}

impl RateLimits {
    /// Budgets for these limits: those that `previous` has under the same name for the same kind of client, as spent as
    /// they are, whatever the numbers are now; else fresh ones.
    pub fn new(limits: &[Limit], previous: Option<&Self>) -> Arc<Self> {
        let clock = match previous {
            Some(previous) => previous.clock.again(),
            None => SinceStart::standing(Instant::now()),
        };
        Self::with_clock(limits, previous, clock)
    }

    fn with_clock(limits: &[Limit], previous: Option<&Self>, clock: SinceStart) -> Arc<Self> {
        let hasher = previous.map_or_else(RandomState::new, |previous| previous.hasher.clone());
        let limits = limits
            .iter()
            .map(|limit| {
                let burst = NonZeroU32::new(limit.requests).expect("checked when the policy was read");
                let rate = Rate::with_period(limit.per / limit.requests)
                    .expect("a limit's period is above zero")
                    .allow_burst(burst);
                let known = previous.and_then(|previous| previous.budgets(limit));
                let budgets = known.unwrap_or_else(|| Budgets::new(MOST_CLIENTS, clock.clone()));
                let limiter = Limiter::new(rate, budgets.clone(), clock.clone());
                LimitState { limit: limit.clone(), budgets, limiter }
            })
            .collect();
        clock.run();
        Arc::new(Self { limits, hasher, clock })
    }

    fn budgets(&self, limit: &Limit) -> Option<Budgets<SinceStart>> {
        let is_same = |known: &&LimitState| known.limit.name == limit.name && known.limit.by == limit.by;
        self.limits.iter().find(is_same).map(|known| known.budgets.clone())
    }

    /// Charges every limit of these kinds along the path, narrowest first, and stops at the first that refuses: wider
    /// ones are then not charged. What each said is left in the findings.
    fn check(
        &self,
        kinds: &[LimitKey],
        request: &RequestView<'_>,
        matched: &Matched<'_>,
        findings: &mut Findings,
    ) -> Verdict {
        let mut verdict = Verdict::Skipped;
        for index in matched.along_the_path().flat_map(|route| &route.limits) {
            let by = self.limits[*index].limit.by;
            // Two routes along the path may name the same limit: the request counts in it once.
            if !kinds.contains(&by) || findings.quotas.iter().any(|quota| quota.limit == *index) {
                continue;
            }
            let user = findings.claims.as_ref().map(|claims| claims.sub.as_str());
            // Who isn't known has no budget of their own: the limits by address have counted the request.
            let Some(client) = self.key(by, request.client, user) else { continue };
            match self.charge(*index, client) {
                Ok(quota) => findings.quotas.push(quota),
                Err(quota) => {
                    findings.quotas.push(quota);
                    return self.refuse(quota);
                }
            }
            verdict = Verdict::Continue;
        }
        verdict
    }

    /// Nothing in it is a field that the client may choose: the address is the connection's, the user the token's.
    fn key(&self, by: LimitKey, client: IpAddr, user: Option<&str>) -> Option<u64> {
        match by {
            LimitKey::Address => Some(network_key(client)),
            LimitKey::User => Some(self.hasher.hash_one(user?)),
            LimitKey::Both => Some(self.hasher.hash_one((user?, network_key(client)))),
        }
    }

    fn charge(&self, index: usize, client: u64) -> Result<Quota, Quota> {
        let LimitState { limit, limiter, .. } = &self.limits[index];
        match limiter.check_key(&client) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let spent = u64::from(limit.requests.saturating_sub(remaining));
                let reset = (limit.per.as_secs() * spent).div_ceil(limit.requests.into());
                Ok(Quota { limit: index, remaining, reset_seconds: reset })
            }
            Err(not_until) => {
                let wait = seconds_until(not_until.earliest_possible(), self.clock.now());
                Err(Quota { limit: index, remaining: 0, reset_seconds: wait })
            }
        }
    }

    fn words(&self, kinds: &[LimitKey], _request: &RequestView<'_>, matched: &Matched<'_>) -> String {
        let mut names = Vec::new();
        for index in matched.along_the_path().flat_map(|route| &route.limits) {
            let limit = &self.limits[*index].limit;
            let word = limit.to_string();
            if kinds.contains(&limit.by) && !names.contains(&word) {
                names.push(word);
            }
        }
        if names.is_empty() { "none along the path".into() } else { format!("one of {}", names.join(", ")) }
    }

    fn refuse(&self, quota: Quota) -> Verdict {
        let Limit { name, requests, per, .. } = &self.limits[quota.limit].limit;
        let problem = Problem::new(
            "rate-limited",
            StatusCode::TOO_MANY_REQUESTS,
            format!(
                "{requests} requests in {} seconds are let through; try again in {} s.",
                per.as_secs(),
                quota.reset_seconds
            ),
        );
        let policy = format!("\"{name}\";q={requests};w={}", per.as_secs());
        let headers = vec![
            (header::RETRY_AFTER, HeaderValue::from(quota.reset_seconds)),
            (RATE_LIMIT_POLICY, HeaderValue::from_str(&policy).expect("a checked name and two numbers")),
        ];
        metrics::counter!("edge_limited_total", "limit" => name.clone()).increment(1);
        Verdict::refuse_with("rate-limit", problem, headers)
    }

    /// The `RateLimit` field for what the limits said; `None` where no limit was asked.
    pub fn field(&self, quotas: &[Quota]) -> Option<HeaderValue> {
        let mut field = String::new();
        for Quota { limit, remaining, reset_seconds } in quotas {
            let separator = if field.is_empty() { "" } else { ", " };
            let name = &self.limits[*limit].limit.name;
            field.push_str(&format!("{separator}\"{name}\";r={remaining};t={reset_seconds}"));
        }
        (!field.is_empty()).then(|| HeaderValue::from_str(&field).expect("checked names and numbers"))
    }

    /// Counts the clients that are remembered, and gives back what a flood of them has left. Call it now and then, off the
    /// threads that serve.
    pub fn sweep(&self) {
        for LimitState { limit, limiter, .. } in &self.limits {
            limiter.retain_recent();
            let clients = limiter.len();
            metrics::gauge!("edge_limiter_clients", "limit" => limit.name.clone()).set(clients as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;

    fn limit(requests: u32) -> Limit {
        Limit { name: "x".into(), requests, per: Duration::from_secs(60), by: LimitKey::Address }
    }

    fn limits(requests: u32) -> Arc<RateLimits> {
        RateLimits::new(&[limit(requests)], None)
    }

    #[test]
    fn exactly_the_budget_passes() {
        let limits = limits(10);
        let passed: Vec<_> = (0..11).map(|_| limits.charge(0, 1)).collect();
        assert_eq!(passed.iter().filter(|verdict| verdict.is_ok()).count(), 10);
        assert_eq!(passed[0], Ok(Quota { limit: 0, remaining: 9, reset_seconds: 6 }));
        assert_eq!(passed[9], Ok(Quota { limit: 0, remaining: 0, reset_seconds: 60 }));
        let refused = passed[10].expect_err("the eleventh");
        assert!((5..=6).contains(&refused.reset_seconds), "{refused:?}");
    }

    #[test]
    fn a_policy_that_is_read_again_refills_no_budget() {
        let before = limits(10);
        assert_eq!((0..20).filter(|_| before.charge(0, 1).is_ok()).count(), 10);
        let same = RateLimits::new(&[limit(10)], Some(&before));
        assert!(same.charge(0, 1).is_err());
        let wider = RateLimits::new(&[limit(20)], Some(&same));
        assert!(wider.charge(0, 1).is_err(), "spent is spent");
        assert!(wider.charge(0, 2).is_ok());
        let renamed = Limit { name: "y".into(), ..limit(10) };
        assert!(RateLimits::new(&[renamed], Some(&wider)).charge(0, 1).is_ok(), "another limit");
    }

    /// Budgets are counted from the first limiter's beginning, whichever limiter charges them.
    #[test]
    fn a_policy_that_is_read_again_after_hours_takes_nobody_for_a_spender() {
        let start = Instant::now().checked_sub(Duration::from_secs(7200)).expect("an instant");
        let before = RateLimits::with_clock(&[limit(10)], None, SinceStart::standing(start));
        assert_eq!(before.charge(0, 1).map(|quota| quota.remaining), Ok(9));
        let same = RateLimits::new(&[limit(10)], Some(&before));
        assert_eq!(same.charge(0, 1).map(|quota| quota.remaining), Ok(8));
        assert_eq!(same.charge(0, 2).map(|quota| quota.remaining), Ok(9));
        assert_eq!((0..10).filter(|_| same.charge(0, 1).is_ok()).count(), 8);
        assert!(before.charge(0, 1).is_err(), "requests of the old policy count in the same budget");
    }

    #[test]
    fn two_thousand_at_once_pass_as_often_as_the_budget_says() {
        let limits = limits(100);
        let passed = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        if limits.charge(0, 7).is_ok() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 100);
    }

    #[test]
    fn an_ipv6_client_is_its_64_and_a_mapped_one_its_ipv4_address() {
        let key = |text: &str| network_key(text.parse().expect("an address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn a_user_is_counted_wherever_they_come_from_and_both_only_from_there() {
        let limits = limits(10);
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let key = |by, client, user| limits.key(by, client, user);
        assert_eq!(key(LimitKey::User, here, Some("ada")), key(LimitKey::User, there, Some("ada")));
        assert_ne!(key(LimitKey::User, here, Some("ada")), key(LimitKey::User, here, Some("bob")));
        assert_ne!(key(LimitKey::Both, here, Some("ada")), key(LimitKey::Both, there, Some("ada")));
        assert_eq!(key(LimitKey::User, here, None), None);
    }

    #[test]
    fn the_field_names_every_limit_that_was_asked() {
        let limits = limits(10);
        let quota = Quota { limit: 0, remaining: 3, reset_seconds: 37 };
        assert_eq!(limits.field(&[quota]).expect("a field"), r#""x";r=3;t=37"#);
        assert_eq!(limits.field(&[]), None);
    }
}
