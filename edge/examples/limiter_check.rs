//! What a limit's check costs, and what a million clients of it take: `cargo run --release -p edge --example
//! limiter_check`. One thread; the clients come in turn, each from an address of its own.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use edge::config;
use edge::guards::{AddressLimits, Findings, Guard, RateLimits};
use edge::request::RequestView;
use edge::routes::RouteTable;
use http::{HeaderMap, Method};

const ROUNDS: usize = 11;
const CHECKS: u32 = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shipped = config_text::expand(include_str!("../../config/edge.toml"), |_| None)
        .map_err(|_| "every variable has a default")?;
    let policy = config::parse(&shipped, Path::new("/")).map_err(|faults| format!("{faults:?}"))?;
    let table = RouteTable::new(policy.routes.clone());
    let matched = table.find(&Method::GET, 0, "/").ok_or("a route")?;
    let headers = HeaderMap::new();
    say("one limit of the shipped policy (1,200 a minute)");
    say("clients     ns a check   memory of the process, MiB");
    for clients in [1u32, 1_000, 100_000, 1_000_000] {
        let guard = AddressLimits(RateLimits::new(&policy.limits, None));
        let mut findings = Findings::default();
        let mut check = |number: u32| {
            let client = Ipv4Addr::from(0x0a00_0000 + number % clients).into();
            let view = RequestView {
                method: &Method::GET,
                authority: "localhost",
                path: "/",
                query: "",
                headers: &headers,
                client,
            };
            findings.quotas.clear();
            black_box(guard.check(&view, &matched, &mut findings));
        };
        (0..clients).for_each(&mut check);
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let started = Instant::now();
                (0..CHECKS).for_each(&mut check);
                started.elapsed().as_nanos() as f64 / f64::from(CHECKS)
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let memory = memory_limit::resident_bytes().unwrap_or(0) as f64 / f64::from(1 << 20);
        say(&format!("{clients:>9} {:>12.0} {memory:>12.1}", rounds[ROUNDS / 2]));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a measurement is for the terminal")]
fn say(line: &str) {
    println!("{line}");
}
