//! Whose request it is: the connection's address, unless a trusted proxy says for whom it speaks.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// More entries of `X-Forwarded-For` than this are no real chain of proxies.
pub const MAX_HOPS: usize = 32;

/// The client's address. Walks `X-Forwarded-For` from the right, past trusted proxies only, and stops at the first
/// that isn't one. `None` when a trusted proxy sent an entry that is no address, or a chain that can't be one: then nobody
/// is let in by address. A single empty field says nothing.
pub fn client_ip(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut client = peer.ip().to_canonical();
    if !is_trusted(client, trusted) {
        return Some(client);
    }
    let lines: Vec<_> =
        headers.get_all("x-forwarded-for").iter().map(|line| line.as_bytes().trim_ascii()).collect();
    if lines == [b""] {
        return Some(client);
    }
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    if entries.clone().count() > MAX_HOPS {
        return None;
    }
    for entry in entries {
        client = parse(entry)?;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    Some(client)
}

/// What counts as one client: IPv4 by address, IPv6 by /64, which is what one customer is given.
pub fn network_key(client: IpAddr) -> u64 {
    const IPV4: u64 = 1 << 63;
    match client.to_canonical() {
        // No IPv6 prefix in use has this bit set and the next 31 clear.
        IpAddr::V4(address) => IPV4 | u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

fn parse(entry: &[u8]) -> Option<IpAddr> {
    // Only spaces and tabs are optional white space (RFC 9110, section 5.6.3): Unicode has more.
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str]) -> Option<IpAddr> {
        let trusted = ["10.0.0.0/8".parse().expect("a network"), "127.0.0.1/32".parse().expect("a network")];
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().expect("a value"));
        }
        client_ip(SocketAddr::new(peer.parse().expect("an address"), 1), &headers, &trusted)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn an_untrusted_peer_speaks_for_itself_only() {
        assert_eq!(client("203.0.113.9", &["127.0.0.1"]), ip("203.0.113.9"));
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_counts() {
        assert_eq!(client("127.0.0.1", &["198.51.100.1, 203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(client("127.0.0.1", &["198.51.100.1, 203.0.113.9, 10.1.1.1"]), ip("203.0.113.9"));
        assert_eq!(client("127.0.0.1", &["198.51.100.1", "203.0.113.9"]), ip("203.0.113.9"));
    }

    #[test]
    fn a_malformed_entry_stops_there() {
        assert_eq!(client("127.0.0.1", &["198.51.100.1, unknown"]), None);
        assert_eq!(client("127.0.0.1", &["unknown, 203.0.113.9"]), ip("203.0.113.9"));
    }

    #[test]
    fn an_empty_field_says_nothing_and_an_empty_entry_stops() {
        assert_eq!(client("127.0.0.1", &[""]), ip("127.0.0.1"));
        assert_eq!(client("127.0.0.1", &["198.51.100.1, "]), None);
        assert_eq!(client("127.0.0.1", &["198.51.100.1", ""]), None);
    }

    #[test]
    fn a_chain_of_more_than_32_is_none() {
        let long = |hops: usize| ["10.1.1.1"].repeat(hops).join(", ");
        assert_eq!(client("127.0.0.1", &[&format!("203.0.113.9, {}", long(31))]), ip("203.0.113.9"));
        assert_eq!(client("127.0.0.1", &[&format!("203.0.113.9, {}", long(32))]), None);
        assert_eq!(client("127.0.0.1", &[&long(30), &long(3)]), None);
        assert_eq!(client("203.0.113.9", &[&long(33)]), ip("203.0.113.9"));
    }

    #[test]
    fn only_spaces_and_tabs_stand_around_an_address() {
        assert_eq!(client("127.0.0.1", &["198.51.100.1,\t 203.0.113.9 "]), ip("203.0.113.9"));
        assert_eq!(client("127.0.0.1", &["203.0.113.9\u{a0}"]), None);
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(client("::ffff:203.0.113.9", &[]), ip("203.0.113.9"));
    }
}
