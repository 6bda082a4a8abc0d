//! Policies and requests at random: the edge and nginx give the same answers, and the same reaches the backend.
//!
//! `PARITY_POLICIES=300 cargo test -p edge --test it parity::random` draws as many policies, of `PARITY_REQUESTS` (40)
//! requests each; `PARITY_SEED` draws the same again.

mod policy;
mod request;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::strategy::Strategy as _;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::both::{Both, revocations};
use crate::redis_process::Redis;

/// What nginx says otherwise of refusals: named in cases, and no verdict.
const WORDS: [&str; 2] = ["body detail", "field retry-after"];

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().expect("a number"))
}

#[test]
fn random_policies_are_judged_alike() {
    let (policies, requests) = (number("PARITY_POLICIES", 8), number("PARITY_REQUESTS", 40));
    let seed = number("PARITY_SEED", rand::random());
    let config = Config {
        cases: policies.try_into().expect("a count"),
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Config::default()
    };
    let seed_bytes = [seed.to_le_bytes(); 4].concat();
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let counts = RefCell::new(BTreeMap::new());
    let redis = revocations();
    let drawn = (policy::routes(), request::requests(requests.try_into().expect("a count")));
    let result = runner.run(&drawn.prop_map(Shown), |Shown((routes, requests))| {
        runtime.block_on(agree(&redis, &routes, &requests, &mut counts.borrow_mut()))
    });
    #[expect(clippy::print_stderr, reason = "what was tried is the test's result, too")]
    {
        eprintln!(
            "{policies} policies, {requests} requests each, PARITY_SEED={seed}: {:?}",
            counts.into_inner()
        );
    }
    if let Err(error) = result {
        panic!("PARITY_SEED={seed} PARITY_POLICIES={policies}: {error}");
    }
}

/// Too much to be printed whole: what differs is told by [`agree`].
#[derive(Clone)]
struct Shown<T>(T);

impl<T> std::fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("as told above")
    }
}

async fn agree(
    redis: &Arc<Redis>,
    routes: &[policy::Route],
    requests: &[request::Request],
    counts: &mut BTreeMap<String, usize>,
) -> Result<(), TestCaseError> {
    let own = RefCell::default();
    let both = Both::start_beside(Arc::clone(redis), |config| {
        let head = policy::head(&config);
        let (text, paths) = policy::text(&head, routes);
        own.replace((text.clone(), paths));
        head + &text
    })
    .await;
    let (policy, paths) = own.into_inner();
    let mut sent = String::new();
    for request in requests {
        let text = request.text(&paths);
        let text = both.tokens.put_into(&text);
        if let Some(about) = request.may_differ(&paths) {
            // Not the edge: there it would count in limits.
            let verdict = both.ask_raw(1, request.from(), &text).await.verdict;
            assert!(verdict.starts_with('4'), "{verdict}: {text}");
            *counts.entry(format!("named: {about}")).or_default() += 1;
            continue;
        }
        let edge = both.ask_raw(0, request.from(), &text).await;
        let nginx = both.ask_raw(1, request.from(), &text).await;
        sent.push_str(&format!("{} {:?}: {}\n", request.from(), request.text(&paths), edge.verdict));
        let about = request.may_be_refused(&paths, &edge.verdict);
        if let Some(about) = about.filter(|_| nginx.verdict.starts_with("400")) {
            *counts.entry(format!("named: {about}")).or_default() += 1;
            continue;
        }
        *counts.entry(edge.verdict.clone()).or_default() += 1;
        let unlike: Vec<_> = edge
            .unlike(&nginx, &[])
            .into_iter()
            .filter(|part| *edge.verdict < *"4" || !WORDS.contains(&part.as_str()))
            .collect();
        if edge.verdict != nginx.verdict || !unlike.is_empty() {
            let differs = unlike.iter().map(|part| {
                format!("{part}: {:?}, nginx {:?}\n", edge.parts.get(part), nginx.parts.get(part))
            });
            let differs: String = differs.collect();
            return Err(TestCaseError::fail(format!(
                "{} and nginx {}\n{differs}\n{}\n{sent}",
                edge.verdict, nginx.verdict, policy
            )));
        }
    }
    Ok(())
}
