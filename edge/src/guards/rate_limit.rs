//! How often a client may come: exact GCRA budgets, keyed by client address.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota as Rate, RateLimiter};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::Verdict;
use crate::client_ip::network_key;
use crate::config::Limit;
use crate::problem::Problem;
use crate::request::RequestView;
use crate::routes::Matched;

/// Clients that a limit remembers one by one. While it is full, all share [`OVERFLOW_BUCKETS`] budgets instead: memory
/// stays bounded, at the price that a flood of addresses is felt by others, and that old budgets rest meanwhile.
const MAX_CLIENTS: usize = 100_000;
const OVERFLOW_BUCKETS: u64 = 4096;

/// `RateLimit: "login";r=3;t=37`
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// `RateLimit-Policy: "login";q=10;w=60`
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

type Limiter = RateLimiter<u64, DashMapStateStore<u64>, DefaultClock, StateInformationMiddleware>;

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
    clock: DefaultClock,
}

struct LimitState {
    limit: Limit,
    limiter: Limiter,
    is_full: AtomicBool,
}

impl RateLimits {
    /// Fresh budgets for these limits.
    pub fn new(limits: &[Limit]) -> Self {
        let limits = limits
            .iter()
            .map(|limit| {
                let burst = NonZeroU32::new(limit.requests).expect("checked when the policy was read");
                let rate = Rate::with_period(limit.per / limit.requests)
                    .expect("a limit's period is above zero")
                    .allow_burst(burst);
                let limiter = RateLimiter::dashmap(rate).with_middleware::<StateInformationMiddleware>();
                LimitState { limit: limit.clone(), limiter, is_full: AtomicBool::new(false) }
            })
            .collect();
        Self { limits, clock: DefaultClock::default() }
    }

    /// Charges every limit along the path, narrowest first, and stops at the first that refuses: wider ones are
    /// then not charged. What each said is left in `quotas`.
    pub fn check(
        &self,
        request: &RequestView<'_>,
        matched: &Matched<'_>,
        quotas: &mut Vec<Quota>,
    ) -> Verdict {
        let client = network_key(request.client);
        for index in matched.along_the_path().flat_map(|route| &route.limits) {
            // Two routes along the path may name the same limit: the request counts in it once.
            if quotas.iter().any(|quota| quota.limit == *index) {
                continue;
            }
            match self.charge(*index, client) {
                Ok(quota) => quotas.push(quota),
                Err(quota) => {
                    quotas.push(quota);
                    return self.refuse(quota);
                }
            }
        }
        if quotas.is_empty() { Verdict::Skipped } else { Verdict::Continue }
    }

    fn charge(&self, index: usize, client: u64) -> Result<Quota, Quota> {
        let LimitState { limit, limiter, is_full } = &self.limits[index];
        let key = if is_full.load(Ordering::Relaxed) { overflow_key(client) } else { client };
        match limiter.check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let spent = u64::from(limit.requests.saturating_sub(remaining));
                let reset = (limit.per.as_secs() * spent).div_ceil(limit.requests.into());
                Ok(Quota { limit: index, remaining, reset_seconds: reset })
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Err(Quota { limit: index, remaining: 0, reset_seconds: whole_seconds(wait) })
            }
        }
    }

    fn refuse(&self, quota: Quota) -> Verdict {
        let Limit { name, requests, per } = &self.limits[quota.limit].limit;
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

    /// Forgets clients whose budget is whole again, and notes which limits are full. Call it about once a second,
    /// off the threads that serve.
    pub fn sweep(&self) {
        for LimitState { limit, limiter, is_full } in &self.limits {
            limiter.retain_recent();
            limiter.shrink_to_fit();
            let clients = limiter.len();
            is_full.store(clients >= MAX_CLIENTS, Ordering::Relaxed);
            metrics::gauge!("edge_limiter_clients", "limit" => limit.name.clone()).set(clients as f64);
        }
    }
}

fn overflow_key(client: u64) -> u64 {
    const OVERFLOW: u64 = 1 << 62;
    // Fibonacci hashing: neighbouring addresses land in different buckets.
    OVERFLOW | ((client.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % OVERFLOW_BUCKETS)
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: u32) -> RateLimits {
        RateLimits::new(&[Limit { name: "x".into(), requests, per: Duration::from_secs(60) }])
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
    fn the_field_names_every_limit_that_was_asked() {
        let limits = limits(10);
        let quota = Quota { limit: 0, remaining: 3, reset_seconds: 37 };
        assert_eq!(limits.field(&[quota]).expect("a field"), r#""x";r=3;t=37"#);
        assert_eq!(limits.field(&[]), None);
    }
}
