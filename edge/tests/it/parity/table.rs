//! How many cases there are, how many agree, and which case shows which difference: the table of `nginx-compat/README.md`.

use std::path::Path;

use edge::nginx::About;

use super::areas;
use super::case::Unlike;

/// Differences that no single request shows, and what holds or shows them.
const SHOWN_OTHERWISE: &[(About, &str)] = &[
    (About::LimitsByUser, "`edge/src/nginx/tests.rs`: such a policy is an error"),
    (About::SeveralLimits, "a test of its own in `parity/mod.rs`"),
    (About::BudgetsComeBack, "`edge/src/nginx/guards.rs`: who waits as long as told passes"),
    (About::LimitMemory, "nothing: it takes 80,000 clients"),
    (About::Deadlines, "nothing: nginx's documentation"),
    (About::Connections, "nothing: nginx's documentation"),
    (About::Health, "nothing: stock nginx has no active checks"),
    (About::TryingAgain, "a test of its own in `parity/mod.rs`"),
    (About::WebSockets, "nothing: nginx's documentation"),
    (About::FileMemory, "nothing: there is nothing to see"),
    (About::Acme, "`edge/src/nginx/tls.rs`: without certificates it is an error"),
    (About::Logs, "`edge/tests/it/nginx.rs`: the log is JSON without queries"),
];

/// What guards refuse with: about that both are always of one mind.
const GUARDS: [&str; 7] = [
    "address-not-allowed",
    "rate-limited",
    "token-missing",
    "invalid-token",
    "forbidden",
    "foreign-origin",
    "cross-origin-refused",
];

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/nginx/parity.md");

fn table() -> String {
    let mut text = String::from(
        "| cases about | requests | agree in everything | agree but for a named part | another answer |\n|---|---|---|---|---|\n",
    );
    let mut sums = [0; 4];
    for area in areas() {
        let count = |is: &dyn Fn(Option<Unlike>) -> bool| -> usize {
            area.cases.iter().filter(|case| is(case.unlike)).map(|case| case.times).sum()
        };
        let counts = [
            count(&|_| true),
            count(&|unlike| unlike.is_none()),
            count(&|unlike| unlike.is_some_and(|unlike| unlike.verdict.is_none())),
            count(&|unlike| unlike.is_some_and(|unlike| unlike.verdict.is_some())),
        ];
        text.push_str(&row(area.name, counts));
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    text.push_str(&row("all", sums));
    text.push_str("\n| difference | shown by |\n|---|---|\n");
    for about in About::ALL {
        let cases: usize = shown(*about);
        let otherwise = SHOWN_OTHERWISE.iter().find(|(other, _)| other == about).map(|(_, how)| *how);
        let cases = (cases > 0).then(|| format!("{cases} {}", if cases == 1 { "case" } else { "cases" }));
        let how = [cases.as_deref(), otherwise].into_iter().flatten().collect::<Vec<_>>().join("; ");
        text.push_str(&format!("| {about} | {how} |\n"));
    }
    text
}

fn row(name: &str, [all, agree, parts, verdicts]: [usize; 4]) -> String {
    format!("| {name} | {all} | {agree} | {parts} | {verdicts} |\n")
}

fn shown(about: About) -> usize {
    let areas = areas();
    let cases = areas.iter().flat_map(|area| &area.cases);
    cases.filter(|case| case.unlike.is_some_and(|unlike| unlike.about == about)).count()
}

#[test]
fn the_table_is_current() {
    let table = table();
    if std::env::var_os("PARITY_TABLE").is_some_and(|value| value == "write") {
        std::fs::write(FILE, &table).expect("written");
    }
    let written = std::fs::read_to_string(Path::new(FILE)).unwrap_or_default();
    assert!(
        written == table,
        "edge/src/nginx/parity.md is stale; renew it: PARITY_TABLE=write cargo test -p edge --test it \
         parity::table, then nginx-compat/ as its own test says"
    );
}

#[test]
fn each_named_difference_is_shown_and_none_without_need() {
    for about in About::ALL {
        let is_told = SHOWN_OTHERWISE.iter().any(|(other, _)| other == about);
        assert!((shown(*about) > 0) != is_told, "{about}: shown by a case, or otherwise, not both");
    }
}

#[test]
fn no_difference_is_a_guards_verdict_or_lets_somebody_in() {
    for area in areas() {
        for case in &area.cases {
            let Some(nginx) = case.unlike.and_then(|unlike| unlike.verdict) else { continue };
            let is_guards = |verdict: &str| GUARDS.iter().any(|guard| verdict.ends_with(guard));
            assert!(!is_guards(nginx) && !is_guards(case.verdict), "{case:?}");
            let is_refusal = |verdict: &str| verdict >= "4" || verdict.starts_with('0');
            // A certificate that no client would take lets nobody in; the admin port isn't a client's.
            let is_harmless = case.sni.is_some();
            assert!(is_harmless || is_refusal(nginx) || !is_refusal(case.verdict), "{case:?}");
        }
    }
}
