//! Whose request it is: a client can't choose its address.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use edge::client_ip::{client_ip, network_key};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const MAX_HOPS: usize = 32;

const PEERS: [&str; 8] = [
    "10.0.0.1",
    "127.0.0.1",
    "203.0.113.9",
    "::ffff:10.0.0.1",
    "::ffff:203.0.113.9",
    "::1",
    "fd00::1",
    "2001:db8::9",
];
const NETWORKS: [&str; 8] = [
    "10.0.0.0/8",
    "127.0.0.1/32",
    "203.0.113.0/25",
    "0.0.0.0/0",
    "::1/128",
    "fd00::/8",
    "2001:db8::/64",
    "::/0",
];

fuzz_target!(|data: &[u8]| {
    // The peer's number, a bit for each trusted network, then the fields' lines.
    let [peer, trusted, lines @ ..] = data else { return };
    let peer: IpAddr = PEERS[usize::from(*peer) % 8].parse().expect("an address");
    let networks = NETWORKS.iter().enumerate().filter(|(bit, _)| trusted >> bit & 1 == 1);
    let trusted: Vec<IpNet> = networks.map(|(_, text)| text.parse().expect("a network")).collect();
    let values = lines.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers: HeaderMap = values.map(|value| (FORWARDED_FOR, value)).collect();

    let client = client_ip(SocketAddr::new(peer, 1), &headers, &trusted);
    assert_eq!(client, by_the_book(peer, &headers, &trusted));
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer.to_canonical();
    if !is_trusted(&peer) {
        assert_eq!(client, Some(peer), "an untrusted peer speaks for itself only");
    }
    let Some(client) = client else { return };
    assert_eq!(client, client.to_canonical());
    assert!(client == peer || entries(&headers).any(|entry| address(entry) == Some(client)));
    if !is_trusted(&client) {
        let mut longer: HeaderMap =
            [(FORWARDED_FOR, HeaderValue::from_static("127.0.0.1, 10.9.9.9"))].into_iter().collect();
        longer.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        let still = client_ip(SocketAddr::new(peer, 1), &longer, &trusted);
        assert_eq!(still, Some(client), "what a client claims changes nothing");
    }
    let key = network_key(client);
    entries(&headers).filter_map(address).for_each(|other| keys_tell_networks_apart(client, key, other));
});

/// The whole chain first (RFC 9110, section 5.3: lines are one list), then the way along it.
fn by_the_book(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut chain: Vec<Option<IpAddr>> = entries(headers).map(address).collect();
    chain.push(Some(peer.to_canonical()));
    chain.reverse();
    chain.truncate(MAX_HOPS + 1);
    let speaks_for_another =
        |hop: &Option<IpAddr>| hop.is_some_and(|hop| trusted.iter().any(|network| network.contains(&hop)));
    let end = chain.iter().position(|hop| !speaks_for_another(hop)).unwrap_or(chain.len() - 1);
    chain[end]
}

fn entries(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(FORWARDED_FOR).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
}

/// An address with optional white space (RFC 9110, section 5.6.3) around it, nothing else.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Of the addresses that somebody may have (RFC 4291, section 2.4).
fn keys_tell_networks_apart(one: IpAddr, key: u64, other: IpAddr) {
    let is_same = match (one, other) {
        (IpAddr::V6(a), IpAddr::V6(b)) => a.segments()[..4] == b.segments()[..4],
        (a, b) => a == b,
    };
    let is_in_use = |address: IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.segments()[0] != 0x8000,
    };
    if is_in_use(one) && is_in_use(other) {
        assert_eq!(key == network_key(other), is_same, "{one} {other}");
    }
}
