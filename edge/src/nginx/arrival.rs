//! What must be known of a request before a guard is asked: host, client, path. The same steps as the edge's admission.

use ipnet::IpNet;

use super::writer::{Writer, literal};
use crate::client_ip::MAX_HOPS;
use crate::config::Policy;

/// Longer repetitions are more than an expression takes.
const MOST_REPEATED: usize = 60_000;

/// A byte that stands in a canonical path as it is.
const PLAIN: &str = "A-Za-z0-9._~/:@!$&'()*+,=-";
/// Two digits of an encoding that a canonical path keeps: upper-case, of no unreserved byte, no separator, no control.
const KEPT: &str = "(?!2[DEF]|3[0-9]|4[1-9A-F]|5[0-9ACF]|6[1-9A-F]|7[0-9AEF]|[01])[0-9A-F]{2}";
/// Two digits of an encoding that is taken at all.
const TAKEN: &str = "(?!2[Ff]|5[Cc]|7[Ff]|[01])[0-9A-Fa-f]{2}";
/// Two digits of an encoding that nginx would lose when it spells a path anew: of !$&'()*+,:;=@[].
const LOST: &str = "(?:2[146-9A-Ca-c]|3[ABDabd]|40|5[BDbd])";

/// `$host_number`, `$name_agrees`.
pub(super) fn hosts(w: &mut Writer, policy: &Policy) {
    w.comment("The name that the request is for, as its number; a Host that isn't the name in the request line is none.");
    let is_first = |(number, host): &(usize, &String)| policy.host(host) == Some(*number);
    let entries = policy.hosts.iter().enumerate().filter(is_first).map(|(number, host)| {
        let name = literal(host);
        (format!("~*^{name}\\|{name}(?::[^:]*)?$"), number.to_string())
    });
    w.map("\"$host|$http_host\"", "$host_number", "none", entries);
    w.blank();
    w.comment("A connection was made to one name, and is for no other (RFC 9110, section 7.4).");
    let entries = [("~^\\|", "yes"), ("~*^([^|]+)\\|\\1$", "yes")];
    w.map("\"$ssl_server_name|$host\"", "$name_agrees", "no", entries);
}

/// `$client`, `$client_network` and `$client_known`.
pub(super) fn client(w: &mut Writer, policy: &Policy) {
    let trusted = &policy.trusted_proxies;
    if !trusted.is_empty() {
        w.comment("Whom these speak for, they say in X-Forwarded-For; of its entries the last that isn't trusted counts.");
        for network in trusted {
            w.line(format!("set_real_ip_from {};", words(network)));
        }
        w.line("real_ip_header X-Forwarded-For;");
        w.line("real_ip_recursive on;");
        w.blank();
    }
    w.comment("The client's address; an IPv4 address that is written as an IPv6 one is the IPv4 address.");
    w.map("$remote_addr", "$client", "$remote_addr", [("~*^::ffff:([0-9]+\\.[0-9.]+)$", "$1")]);
    w.blank();
    w.comment("Whose requests count together: IPv4 by address, IPv6 by /64. nginx writes addresses with the longest row of zeros left out: each shape of that has its line.");
    let entries = NETWORKS.iter().map(|(key, value)| (*key, format!("\"{value}\"")));
    w.map("$client", "$client_network", "$client", entries);
    if trusted.is_empty() {
        return;
    }
    w.blank();
    geo(w, "$client_is_proxy", trusted);
    geo_of(w, "$realip_remote_addr", "$peer_is_proxy", trusted);
    w.blank();
    w.comment("nginx stops at an entry that is no address, and takes the proxy itself for the client; it reads entries with a port, leaves out empty ones, and walks on for ever: then nobody is let in.");
    let with_port = "\\[?(?:::ffff:)?\\1(?:\\]|\\]?:[0-9]+)[ \\t]*(?:,|$)";
    let entries = [
        ("~^0", "yes"),
        (&*format!("~^1[^,]*(?:,[^,]*){{{MAX_HOPS}}}"), "no"),
        ("~,[ \\t]*(?:,|$)|\\|[ \\t]*,", "no"),
        (&*format!("~*^10\\|([^|]+)\\|(?:.*,)?[ \\t]*{with_port}"), "no"),
        ("~^10", "yes"),
        ("~^11\\|[^|]*\\|$", "yes"),
        ("~*^11\\|([^|]+)\\|[ \\t]*(?:::ffff:)?\\1[ \\t]*(?:,|$)", "yes"),
    ];
    let key = "\"$peer_is_proxy$client_is_proxy|$client|$http_x_forwarded_for\"";
    w.map(key, "$client_known", "no", entries);
}

/// A variable that is 1 for clients of these networks, else 0.
pub(super) fn geo(w: &mut Writer, variable: &str, networks: &[IpNet]) {
    geo_of(w, "$client", variable, networks);
}

fn geo_of(w: &mut Writer, address: &str, variable: &str, networks: &[IpNet]) {
    w.block(&format!("geo {address} {variable}"), |w| {
        w.line("default 0;");
        let mut known: Vec<&IpNet> = Vec::new();
        for network in networks {
            if !known.contains(&network) {
                w.line(format!("{} 1;", words(network)));
                known.push(network);
            }
        }
    });
}

fn words(network: &IpNet) -> String {
    network.to_string()
}

/// Expressions for the text of an IPv6 address, and the first 64 bits. What nginx writes has no leading zeros and one `::`
/// at most, in the place of two groups or more.
pub(super) const NETWORKS: [(&str, &str); 11] = [
    ("~^([0-9a-f]+:[0-9a-f]+:[0-9a-f]+:[0-9a-f]+):", "$1"),
    ("~^::([0-9a-f]+)(?::[0-9a-f]+){4}$", "0:0:0:$1"),
    ("~^::([0-9a-f]+:[0-9a-f]+)(?::[0-9a-f]+){4}$", "0:0:$1"),
    ("~^::([0-9a-f]+:[0-9a-f]+:[0-9a-f]+)(?::[0-9a-f]+){4}$", "0:$1"),
    ("~^([0-9a-f]+)::([0-9a-f]+)(?::[0-9a-f]+){4}$", "$1:0:0:$2"),
    ("~^([0-9a-f]+)::([0-9a-f]+:[0-9a-f]+)(?::[0-9a-f]+){4}$", "$1:0:$2"),
    ("~^([0-9a-f]+:[0-9a-f]+)::([0-9a-f]+)(?::[0-9a-f]+){4}$", "$1:0:$2"),
    ("~^::", "0:0:0:0"),
    ("~^([0-9a-f]+)::", "$1:0:0:0"),
    ("~^([0-9a-f]+:[0-9a-f]+)::", "$1:0:0"),
    ("~^([0-9a-f]+:[0-9a-f]+:[0-9a-f]+)::", "$1:0"),
];

/// `$raw_path`, `$path_form` and `$path`.
pub(super) fn path(w: &mut Writer, policy: &Policy) {
    w.comment("What was asked for, without its query.");
    w.map("$request_uri", "$raw_path", "\"\"", [("~^([^?]*)", "$1")]);
    w.blank();
    w.comment("canonical: forwarded byte for byte. respelled: a detour (//, /./, an encoded letter, a lower-case encoding), which nginx has spelled anew. unclear: both at once, a detour and an encoding that nginx would lose: refused. illegal: what servers read differently: refused.");
    let longest = policy.connections.max_target_bytes.min(MOST_REPEATED) + 1;
    let length = "(?=[^?]{1,4096}(?:\\?|$))";
    let no_detour = "(?![^?]*/(?:/|\\.{1,2}(?:/|\\?|$)))";
    let entries = [
        (format!("~^.{{{longest}}}"), "too-long"),
        ("~[^!-\\~]".to_owned(), "illegal"),
        (format!("~^{length}{no_detour}/(?:[{PLAIN}]++|%{KEPT})*+(?:\\?|$)"), "canonical"),
        (format!("~^[^?]*%{LOST}"), "unclear"),
        (format!("~^{length}/(?:[{PLAIN}]++|%{TAKEN})*+(?:\\?|$)"), "respelled"),
    ];
    w.map("$request_uri", "$path_form", "illegal", entries);
    w.blank();
    w.comment("The canonical path, which the routes speak of; a refused one has none. Of a respelled one whatever is still encoded is decoded here; no route names such a byte.");
    w.map("$path_form", "$path", "\"\"", [("canonical", "$raw_path"), ("respelled", "$uri")]);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use regex::Regex;

    use super::NETWORKS;
    use crate::client_ip::network_key;

    /// As nginx's `ngx_inet6_ntop` writes it: the first longest row of two zeros or more is left out.
    fn as_nginx_writes(address: Ipv6Addr) -> String {
        let groups = address.segments();
        let row = |start: usize| groups[start..].iter().take_while(|group| **group == 0).count();
        let best = (0..8).max_by_key(|start| (row(*start), 8 - start)).filter(|start| row(*start) >= 2);
        let hex =
            |groups: &[u16]| groups.iter().map(|group| format!("{group:x}")).collect::<Vec<_>>().join(":");
        match best {
            Some(start) => format!("{}::{}", hex(&groups[..start]), hex(&groups[start + row(start)..])),
            None => hex(&groups),
        }
    }

    static EXPRESSIONS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let compiled =
            |(expression, value): (&str, _)| (Regex::new(&expression[1..]).expect("an expression"), value);
        NETWORKS.into_iter().map(compiled).collect()
    });

    fn key(text: &str) -> String {
        for (expression, value) in EXPRESSIONS.iter() {
            if let Some(found) = expression.captures(text) {
                let mut key = String::new();
                found.expand(&value.replace("$1", "${1}").replace("$2", "${2}"), &mut key);
                return key;
            }
        }
        text.to_owned()
    }

    fn address() -> impl Strategy<Value = Ipv6Addr> {
        proptest::array::uniform8(prop_oneof![Just(0_u16), Just(0), 1..3_u16, any::<u16>()])
            .prop_map(Ipv6Addr::from)
    }

    #[test]
    fn each_shape_has_its_key() {
        for (text, expected) in [
            ("2001:db8::1", "2001:db8:0:0"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2"),
            ("::1", "0:0:0:0"),
            ("::2:3:4:5:6", "0:0:0:2"),
            ("1::3:4:5:6:7", "1:0:0:3"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(key(text), expected, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn one_network_has_one_key_and_no_other_has_it(a in address(), b in address(), low: u64) {
            prop_assume!(a.to_ipv4_mapped().is_none() && b.to_ipv4_mapped().is_none());
            let neighbour = Ipv6Addr::from(u128::from(a) >> 64 << 64 | u128::from(low));
            prop_assume!(neighbour.to_ipv4_mapped().is_none());
            let [key_a, key_b] = [a, b].map(|address| key(&as_nginx_writes(address)));
            prop_assert_eq!(&key_a, &key(&as_nginx_writes(neighbour)));
            let is_same = network_key(a.into()) == network_key(b.into());
            prop_assert_eq!(key_a == key_b, is_same, "{} {}", a, b);
        }
    }
}
