//! Where a measurement goes. This machine's loopback addresses only: an attack must not leave it by mistake.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, bail};
use rustls::pki_types::ServerName;

/// A TLS server on a loopback address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The name that its certificate must have.
    pub(crate) name: ServerName<'static>,
    /// In 127.0.0.0/8.
    pub(crate) address: SocketAddr,
    authority: String,
}

impl Target {
    /// The value of `Host` and `:authority`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    /// Reads `HOST:PORT`, where the host is `localhost` or an address in 127.0.0.0/8.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (host, port) =
            text.rsplit_once(':').with_context(|| format!("{text} is not of the form HOST:PORT"))?;
        let port: u16 = port.parse().with_context(|| format!("the port of {text}"))?;
        let ip = match host {
            "localhost" => Ipv4Addr::LOCALHOST,
            host => {
                host.parse().with_context(|| format!("{host} is neither localhost nor an IPv4 address"))?
            }
        };
        if !ip.is_loopback() {
            bail!("{ip} is no loopback address, and nothing else is measured or attacked");
        }
        let name = ServerName::try_from(host.to_owned()).context("a server's name")?;
        Ok(Self { name, address: SocketAddr::from((ip, port)), authority: text.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// A source address: number `index` of the many that 127.`net`.0.0/16 holds.
pub(crate) fn source(net: u8, index: usize) -> Ipv4Addr {
    let last = u8::try_from(index % 250 + 1).expect("at most 250");
    let third = u8::try_from(index / 250 % 250).expect("less than 250");
    Ipv4Addr::new(127, net, third, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_targets() {
        let target: Target = "localhost:8443".parse().expect("a target");
        assert_eq!(target.address, SocketAddr::from(([127, 0, 0, 1], 8443)));
        assert_eq!(target.authority(), "localhost:8443");
        assert_eq!("127.0.0.9:1".parse::<Target>().expect("a target").address.port(), 1);
    }

    #[test]
    fn every_other_host_is_refused() {
        for text in
            ["10.0.0.1:443", "0.0.0.0:443", "example.org:443", "[::1]:443", "localhost", "localhost:x"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn sources_differ_and_stay_in_their_net() {
        let all: std::collections::HashSet<_> = (0..60_000).map(|index| source(1, index)).collect();
        assert_eq!(all.len(), 60_000);
        assert!(all.iter().all(|address| address.octets()[..2] == [127, 1]));
    }
}
