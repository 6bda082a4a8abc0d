//! All attackers together: they come one after the other, and stay until the edge or the clock ends it.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::client::TlsStream;

use crate::connection::{Appetite, connect, connect_tls};
use crate::floods::attack::drive::drive;
use crate::floods::attack::outcome::{End, Life, Tally, describe};
use crate::floods::attack::script::{Protocol, Reading};
use crate::floods::attack::{Attack, OPENED_A_SECOND, Plan};
use crate::floods::door::Door;
use crate::target::source;

/// Attackers come from 127.1.0.0/16.
const NET: u8 = 1;
/// How long a connection may take to open.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before a connection that was closed is opened anew.
const PAUSE: Duration = Duration::from_millis(100);

/// Attacks for `length` after all connections of the plan were opened.
pub(crate) async fn attack(attack: Attack, plan: Plan, door: Door, length: Duration) -> Tally {
    let began = Instant::now();
    let between = Duration::from_secs(1) / OPENED_A_SECOND;
    let until = began + between * u32::try_from(plan.connections).unwrap_or(u32::MAX) + length;
    let mut attackers = JoinSet::new();
    let mut due = began;
    for index in 0..plan.connections {
        sleep_until(due).await;
        attackers.spawn(attacker(attack, plan, source(NET, index % plan.addresses), door.clone(), until));
        due += between;
    }
    let mut all = Tally::default();
    while let Some(tally) = attackers.join_next().await {
        all.merge(tally.expect("an attacker doesn't panic"));
    }
    all
}

async fn attacker(attack: Attack, plan: Plan, from: Ipv4Addr, door: Door, until: Instant) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..=plan.reopenings {
        let life = live(attack, from, &door, until).await;
        let is_over = life.end == End::Kept || Instant::now() + PAUSE >= until;
        tally.add(life);
        if is_over {
            break;
        }
        sleep(PAUSE).await;
    }
    tally
}

/// Opens a connection and plays the attack's script on it.
async fn live(attack: Attack, from: Ipv4Addr, door: &Door, until: Instant) -> Life {
    let script = attack.script(door.target.authority());
    let give_up = until.min(Instant::now() + PATIENCE);
    let appetite = if script.reading == Reading::Trickle { Appetite::Small } else { Appetite::Normal };
    let config = match script.protocol {
        Protocol::Tcp => {
            return match timeout_at(give_up, connect(from, door.target.address, appetite)).await {
                Ok(Ok(stream)) => drive(stream, script, until).await,
                failed => refused(failed),
            };
        }
        Protocol::Http1 => &door.http1,
        Protocol::Http2 => &door.http2,
    };
    match timeout_at(give_up, connect_tls(from, &door.target, config, appetite)).await {
        Ok(Ok(stream)) if !speaks(&stream, config) => Life::refused("another protocol"),
        Ok(Ok(stream)) => drive(stream, script, until).await,
        failed => refused(failed),
    }
}

/// Whether the edge has agreed to the protocol that was offered.
fn speaks(stream: &TlsStream<TcpStream>, config: &ClientConfig) -> bool {
    stream.get_ref().1.alpn_protocol() == config.alpn_protocols.first().map(Vec::as_slice)
}

fn refused<T, E>(failed: Result<io::Result<T>, E>) -> Life {
    match failed {
        Ok(Err(error)) => Life::refused(&describe(&error)),
        _ => Life::refused("not open in time"),
    }
}
