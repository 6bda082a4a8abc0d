//! What finding a request's route costs, as the policy grows: `cargo run --release -p edge --example route_match`.
//! Beside the router it times looking at every route in turn, most specific first.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use edge::config::{self, Route};
use edge::routes::RouteTable;
use http::Method;

const ROUNDS: usize = 15;
const MATCHES: usize = 100_000;
/// Looking at every route is slow enough with fewer.
const LINEAR_MATCHES: usize = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    say("routes   router, ns a match   every route in turn, ns a match");
    for count in [10, 100, 1000] {
        let routes = routes(count)?;
        let table = RouteTable::new(routes);
        let paths = paths(count);
        let in_order: Vec<&Route> = table.all().map(|(route, _)| route).collect();
        let router = median(MATCHES, &paths, |path| table.find(&Method::GET, 0, path).is_some());
        let linear = median(LINEAR_MATCHES, &paths, |path| {
            let fits = |route: &&Route| {
                route.has_method(&Method::GET) && route.has_host(0) && route.pattern.matches(path)
            };
            in_order.iter().position(fits).is_some()
        });
        say(&format!("{count:>6} {router:>19.0} {linear:>32.0}"));
    }
    Ok(())
}

/// The shipped policy's, filled up with features of four routes each: a list, one of it, one's parts, and a prefix.
fn routes(count: usize) -> Result<Vec<Route>, Box<dyn std::error::Error>> {
    let shipped = include_str!("../../config/edge.toml");
    let mut text = config_text::expand(shipped, |_| None).map_err(|_| "every variable has a default")?;
    let end = text.find("[[routes]]").ok_or("the shipped policy has routes")?;
    text.truncate(end);
    for number in 0..count {
        let feature = number / 4;
        let path = match number % 4 {
            0 => format!("exact = \"/api/feature-{feature}\""),
            1 => format!("exact = \"/api/feature-{feature}/{{id}}\""),
            2 => format!("exact = \"/api/feature-{feature}/{{id}}/parts\"\nmethods = [\"GET\", \"POST\"]"),
            _ => format!("below = \"/api/feature-{feature}\""),
        };
        text.push_str(&format!("[[routes]]\n{path}\nupstream = \"backend\"\n"));
    }
    let policy = config::parse(&text, Path::new("/"));
    Ok(policy.map_err(|faults| format!("{faults:?}"))?.routes)
}

/// Paths that meet each kind of route, and some that meet none.
fn paths(count: usize) -> Vec<String> {
    let features = (count / 4).max(1);
    let paths = |feature: usize| {
        ["", "/0192f0c1", "/0192f0c1/parts", "/a/b/c"]
            .map(|rest| format!("/api/feature-{}{rest}", feature % features))
    };
    let nothing = ["/style.css".to_owned(), "/api/nothing/here".to_owned()];
    (0..50).flat_map(|turn| paths(turn * 7919)).chain(nothing).collect()
}

fn median(matches: usize, paths: &[String], find: impl Fn(&str) -> bool) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for path in paths.iter().cycle().take(matches) {
                black_box(find(black_box(path)));
            }
            started.elapsed().as_nanos() as f64 / matches as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

#[expect(clippy::print_stdout, reason = "the figures go to the terminal")]
fn say(line: &str) {
    println!("{line}");
}
