//! One policy, two gateways: each case is sent to the edge and to real nginx, in front of the same backends, and all of
//! the answer and of what reached the backend agrees, or the case names the difference.
//!
//! `case.rs` says what a case is, `both.rs` what is compared, the areas hold the cases, `table.rs` counts them for
//! `nginx-compat/README.md`, `random/` draws policies and requests.

mod answers;
mod both;
mod case;
mod files;
mod limits;
mod lists;
mod names;
mod outages;
mod paths;
mod policies;
mod random;
mod routes;
mod services;
mod table;
mod tokens;

use both::{Answer, Both};
use case::{Area, Case, ask, get};
use policies::{bare, rich, trusting, two_certificates};

/// All areas, in the table's order.
fn areas() -> Vec<Area> {
    vec![
        routes::area(),
        routes::shipped(),
        lists::area(),
        lists::behind_proxies(),
        paths::area(),
        limits::area(),
        tokens::area(),
        tokens::other_sites(),
        services::area(),
        services::websockets(),
        answers::area(),
        files::area(),
        names::area(),
        names::several_certificates(),
        names::no_addresses_no_tokens(),
        outages::one_breaks(),
        outages::one_is_dead(),
        outages::nobody_verifies(),
        outages::all_are_dead(),
    ]
}

/// Sends the cases of an area; all that is wrong is told at once.
async fn agree(both: &Both, area: &Area) {
    let mut wrong = String::new();
    for case in &area.cases {
        for _ in 0..case.times {
            let [edge, nginx] = both.ask(case).await;
            if let Err(what) = judge(case, &edge, &nginx) {
                wrong.push_str(&format!(
                    "\n{} {} {} {:?}: {what}",
                    case.method, case.host, case.target, case.fields
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:{wrong}", area.name);
}

fn judge(case: &Case, edge: &Answer, nginx: &Answer) -> Result<(), String> {
    if edge.verdict != case.verdict {
        return Err(format!("the edge says {}, not {}: {:?}", edge.verdict, case.verdict, edge.parts));
    }
    let theirs = case.unlike.and_then(|unlike| unlike.verdict);
    let expected = theirs.unwrap_or(case.verdict);
    if nginx.verdict != expected {
        return Err(format!("nginx says {}, not {expected}: {:?}", nginx.verdict, nginx.parts));
    }
    if theirs.is_some() {
        return Ok(());
    }
    let named = case.unlike.map_or(&[][..], |unlike| unlike.parts);
    let unlike = edge.unlike(nginx, named);
    if unlike.iter().map(String::as_str).eq(named.iter().copied()) {
        return Ok(());
    }
    let told = unlike.iter().map(|part| {
        let of = |answer: &Answer| answer.parts.get(part).cloned();
        format!("\n    {part}: {:?}, nginx {:?}", of(edge), of(nginx))
    });
    Err(format!("{named:?} should differ, but what does is{}", told.collect::<String>()))
}

#[tokio::test]
async fn the_rich_policy_is_the_same() {
    let both = Both::start_with(rich).await;
    for area in [routes::area(), lists::area(), tokens::area(), tokens::other_sites(), answers::area()] {
        agree(&both, &area).await;
    }
}

#[tokio::test]
async fn the_shipped_policy_is_the_same() {
    agree(&Both::start_with(|shipped| shipped).await, &routes::shipped()).await;
}

#[tokio::test]
async fn every_path_is_taken_alike() {
    agree(&Both::start_with(rich).await, &paths::area()).await;
}

#[tokio::test]
async fn services_get_the_same() {
    let both = Both::start_with(rich).await;
    for area in [limits::area(), services::area(), services::websockets()] {
        agree(&both, &area).await;
    }
}

#[tokio::test]
async fn files_are_served_alike() {
    let both = Both::start_with(rich).await;
    files::write(&both.edge.folder().join("web"));
    agree(&both, &files::area()).await;
}

#[tokio::test]
async fn who_speaks_for_others_is_believed_alike() {
    agree(&Both::start_with(trusting).await, &lists::behind_proxies()).await;
}

#[tokio::test]
async fn a_connection_is_for_the_name_that_it_was_made_to() {
    agree(&Both::start_with(rich).await, &names::area()).await;
    agree(&Both::start_with(two_certificates).await, &names::several_certificates()).await;
    agree(&Both::start_with(bare).await, &names::no_addresses_no_tokens()).await;
}

#[tokio::test]
async fn backends_that_fail_are_borne_alike() {
    let mut both = Both::start_with(rich).await;
    both.edge.backends[0].break_next(usize::MAX);
    agree(&both, &outages::one_breaks()).await;
    both.edge.backends[0].break_next(0);
    both.edge.backends[0].kill();
    both.edge.wait_until_healthy(0, false).await;
    agree(&both, &outages::one_is_dead()).await;
    both.edge.backends[1].set_verifying(false);
    agree(&both, &outages::nobody_verifies()).await;
    both.edge.backends[1].kill();
    both.edge.wait_until_healthy(1, false).await;
    agree(&both, &outages::all_are_dead()).await;
}

/// nginx can't charge one limit for what another refuses. Each limit holds: what it lets through is never more than it says.
#[tokio::test]
async fn of_what_a_wide_limit_refused_the_edge_has_charged_the_narrow_one() {
    let both = Both::start_with(rich).await;
    let ask = async || both.ask(&get("/slow/narrow", "")).await;
    for verdict in ["200 backend", "429 rate-limited"] {
        assert_eq!(ask().await.map(|answer| answer.verdict), [verdict; 2]);
    }
    let [edge, mut nginx] = ask().await;
    assert_eq!(edge.verdict, "429 rate-limited");
    assert!(edge.parts["body detail"].contains("2 requests in 60 seconds"), "{edge:?}");
    let started = std::time::Instant::now();
    while nginx.verdict != "200 backend" {
        assert!(started.elapsed().as_secs() < 20, "{nginx:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let [edge, other] = ask().await;
        assert_eq!(edge.verdict, "429 rate-limited");
        nginx = other;
    }
    // Both of the narrow one have passed, and the next is refused, whatever the wide one says.
    assert_eq!(ask().await[1].verdict, "429 rate-limited");
}

/// A GET that a backend breaks off goes to the other; what isn't safe to repeat doesn't.
#[tokio::test]
async fn what_isnt_safe_to_repeat_is_sent_once() {
    let mut both = Both::start_with(rich).await;
    for (method, verdict) in [("GET", "200 backend"), ("POST", "502 bad-gateway"), ("PUT", "502 bad-gateway")]
    {
        let case = ask(method, "/d/x", "").with("Content-Length: 0\r\n");
        for gateway in [0, 1] {
            both.edge.backends[0].break_next(1);
            let mut verdicts = [both.ask_nth(gateway, &case).await, both.ask_nth(gateway, &case).await];
            verdicts.sort_unstable();
            assert_eq!(verdicts, ["200 backend", verdict], "{method} {gateway}");
            both.edge.backends[0].break_next(0);
        }
    }
    // Named: nginx doesn't know whether a PUT was sent, so that one that wasn't isn't sent elsewhere either.
    both.edge.backends[0].kill();
    let put = ask("PUT", "/d/x", "").with("Content-Length: 0\r\n");
    let started = std::time::Instant::now();
    while both.ask_nth(1, &put).await != "503 unavailable" {
        assert!(started.elapsed().as_secs() < 20, "nginx sends it elsewhere");
        assert_eq!(both.ask_nth(0, &put).await, "200 backend");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
