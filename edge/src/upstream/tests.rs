//! Requests and servers without a network: what is chosen, what is held against whom, what survives a new policy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;

use super::conduct::Evidence;
use super::server::now;
use super::{Asking, Delivery, DrainError, Exchange, Failure, Pool};
use crate::config::{Balance, Upstream, UpstreamServer};

const SAFE: Asking = Asking { is_safe: true, client: Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)) };

fn address(server: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080 + server))
}

fn upstream(balance: Balance, servers: impl Iterator<Item = u16>) -> Upstream {
    let entry = |server| UpstreamServer { address: address(server), management: address(server + 1000) };
    Upstream {
        name: "backend".into(),
        servers: servers.map(entry).collect(),
        health_path: "/".into(),
        health_interval: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        balance,
        answer_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(30),
        websocket_idle: Duration::from_secs(90),
        retries: 1,
    }
}

fn pool(balance: Balance, servers: u16) -> Arc<[Pool]> {
    Pool::all(&[upstream(balance, 0..servers)], &[])
}

fn requests(pool: &Pool) -> Vec<usize> {
    pool.states().map(|state| state.requests).collect()
}

fn eject(pool: &Pool, server: usize, why: Failure) -> bool {
    let server = Arc::clone(pool.servers().nth(server).expect("a server"));
    pool.eject(&server, why)
}

#[test]
fn requests_go_in_turn_past_those_that_are_out() {
    let pools = pool(Balance::RoundRobin, 3);
    let take = || Exchange::default().choose(&pools[0], SAFE).expect("a server").port() - 8080;
    assert_eq!([(); 6].map(|()| take()), [0, 1, 2, 0, 1, 2]);
    assert!(eject(&pools[0], 1, Failure::Refused));
    // The next in line doesn't get the missing one's share.
    let ports = [(); 6].map(|()| take());
    assert_eq!(ports.iter().filter(|port| **port == 0).count(), 3);
    assert_eq!(ports.iter().filter(|port| **port == 2).count(), 3);
}

#[test]
fn a_further_try_goes_elsewhere_and_takes_no_turn() {
    let pools = pool(Balance::RoundRobin, 2);
    for first in [0, 1, 0, 1] {
        let mut exchange = Exchange::default();
        assert_eq!(exchange.choose(&pools[0], SAFE), Some(address(first)));
        assert!(exchange.failed(&pools[0], Some(Failure::Broken), SAFE, true));
        assert_eq!(exchange.choose(&pools[0], SAFE), Some(address(1 - first)));
        assert!(!exchange.failed(&pools[0], Some(Failure::Broken), SAFE, true), "there are two servers");
    }
    assert!(pools[0].states().all(|state| !state.ejected), "what fails twice says nothing");
}

#[test]
fn the_last_usable_server_is_never_ejected() {
    let pools = pool(Balance::RoundRobin, 3);
    assert!(eject(&pools[0], 0, Failure::Refused));
    pools[0].drain(address(1), false).expect("another is there");
    assert!(!eject(&pools[0], 2, Failure::Refused));
    pools[0].undrain(address(1)).expect("a server");
    assert!(eject(&pools[0], 2, Failure::Refused));
    assert!(!eject(&pools[0], 1, Failure::Refused));
}

#[test]
fn when_all_but_ejected_ones_are_gone_those_are_asked() {
    let pools = pool(Balance::RoundRobin, 2);
    assert!(eject(&pools[0], 0, Failure::Refused));
    pools[0].servers().nth(1).expect("a server").set_ready(false, "down");
    assert_eq!(Exchange::default().choose(&pools[0], SAFE), Some(address(0)));
    pools[0].servers().next().expect("a server").set_ready(false, "down");
    assert_eq!(Exchange::default().choose(&pools[0], SAFE), None);
}

#[test]
fn two_threads_never_eject_both_servers() {
    for _ in 0..200 {
        let pools = pool(Balance::RoundRobin, 2);
        std::thread::scope(|scope| {
            let both = [0, 1].map(|server| {
                scope.spawn({
                    let pools = &pools;
                    move || eject(&pools[0], server, Failure::Refused)
                })
            });
            let ejected = both.map(|thread| thread.join().expect("no panic"));
            assert_eq!(ejected.iter().filter(|ejected| **ejected).count(), 1);
        });
    }
}

#[test]
fn what_another_server_answers_is_held_against_the_first_but_not_its_lateness() {
    for (failure, is_ejected) in [(Failure::Broken, true), (Failure::Status, true), (Failure::Late, false)] {
        let pools = pool(Balance::RoundRobin, 2);
        let pool = &pools[0];
        for _ in 0..6 {
            let mut exchange = Exchange::default();
            let first = exchange.choose(pool, SAFE).expect("a server");
            if first == address(0) {
                assert!(exchange.failed(pool, Some(failure), SAFE, true));
                exchange.choose(pool, SAFE).expect("the other");
            }
            assert_eq!(exchange.answered(pool, StatusCode::OK, SAFE, true), Delivery::Deliver);
            Exchange::default().choose(pool, SAFE);
        }
        let state = pool.states().next().expect("a server");
        assert_eq!(state.ejected, is_ejected, "{failure:?}");
    }
}

#[test]
fn a_server_keeps_all_that_is_known_of_it_when_the_policy_changes() {
    let before = pool(Balance::RoundRobin, 3);
    let mut at_work = Exchange::default();
    at_work.choose(&before[0], SAFE).expect("a server");
    before[0].drain(address(1), false).expect("others are there");
    assert!(eject(&before[0], 2, Failure::Refused));
    // The first is taken out, the fourth is new.
    let after = Pool::all(&[upstream(Balance::LeastConnections, 0..4)], &before);
    let states: Vec<_> = after[0].states().collect();
    assert_eq!(states.iter().map(|state| state.requests).collect::<Vec<_>>(), [1, 0, 0, 0]);
    assert_eq!(states.iter().map(|state| state.draining).collect::<Vec<_>>(), [false, true, false, false]);
    assert_eq!(states.iter().map(|state| state.ejected).collect::<Vec<_>>(), [false, false, true, false]);
    // A request that began before ends in both.
    drop(at_work);
    assert_eq!(requests(&after[0]), [0; 4]);
    let other_name = Upstream { name: "other".into(), ..upstream(Balance::RoundRobin, 0..3) };
    let other = Pool::all(&[other_name], &before);
    assert!(other[0].states().all(|state| !state.draining && !state.ejected));
}

#[test]
fn only_what_exists_is_drained_and_someone_is_left() {
    let pools = pool(Balance::RoundRobin, 2);
    assert_eq!(pools[0].drain(address(7), true), Err(DrainError::NoSuchServer));
    pools[0].servers().nth(1).expect("a server").set_ready(false, "down");
    assert_eq!(pools[0].drain(address(0), false), Err(DrainError::LastServer));
    assert_eq!(pools[0].drain(address(0), true), Ok(()));
}

proptest! {
    #[test]
    fn counts_are_exact_and_the_least_busy_server_is_chosen(
        steps in prop::collection::vec((0_u8..5, 0_usize..50), 1..150),
    ) {
        let pools = pool(Balance::LeastConnections, 3);
        let pool = &pools[0];
        let mut open: Vec<Exchange> = Vec::new();
        for (step, which) in steps {
            let which = if open.is_empty() { 0 } else { which % open.len() };
            match step {
                0 | 1 => {
                    let before = requests(pool);
                    let mut exchange = Exchange::default();
                    let chosen = exchange.choose(pool, SAFE).expect("a server").port() - 8080;
                    prop_assert_eq!(before[usize::from(chosen)], *before.iter().min().expect("three"));
                    open.push(exchange);
                }
                2 if !open.is_empty() => drop(open.swap_remove(which)),
                3 if !open.is_empty() => {
                    open[which].answered(pool, StatusCode::SWITCHING_PROTOCOLS, SAFE, true);
                }
                4 if !open.is_empty() => {
                    // What the client did.
                    open[which].failed(pool, None, SAFE, false);
                    drop(open.swap_remove(which));
                }
                _ => {}
            }
            prop_assert_eq!(requests(pool).iter().sum::<usize>(), open.len());
        }
        drop(open);
        prop_assert_eq!(requests(pool), [0; 3]);
        let websockets: usize = pool.states().map(|state| state.websockets).sum();
        prop_assert_eq!(websockets, 0);
        prop_assert!(pool.states().all(|state| !state.ejected));
    }
}

#[test]
fn evidence_of_many_clients_takes_part_of_the_servers_only() {
    let pools = pool(Balance::RoundRobin, 2);
    let servers: Vec<_> = pools[0].servers().cloned().collect();
    for _ in 0..100 {
        servers[1].conduct.note_answer(now());
    }
    for client in 0..30 {
        pools[0].judge(&servers[0], Failure::Status, Evidence::Alone { client });
    }
    assert_eq!(pools[0].states().map(|state| state.ejected).collect::<Vec<_>>(), [true, false]);
}
