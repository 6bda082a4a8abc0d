//! Which certificate a client is shown: the one for the name that it asks for (RFC 6066, section 3), none for a name
//! that isn't ours.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{CHALLENGE_PROTOCOL, Certificate};
use crate::acme::Acme;

/// Names to certificates; swapped as a whole, under the connections that are being made.
#[derive(Default)]
pub struct Resolver {
    shown: ArcSwap<Shown>,
    /// Shows a CA what it looks for.
    acme: Option<Arc<Acme>>,
}

#[derive(Debug, Default)]
struct Shown {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that name nobody, since they asked for an address.
    for_addresses: Option<Arc<CertifiedKey>>,
}

impl Resolver {
    /// A resolver that shows nothing yet, but to a CA what `acme` has for it.
    pub fn new(acme: Option<Arc<Acme>>) -> Self {
        Self { shown: ArcSwap::default(), acme }
    }

    /// Shows each host the first certificate that is for it, from now on. Gives the hosts that none is for.
    pub fn show<'a, 'c>(
        &self,
        hosts: &'a [String],
        certificates: impl Iterator<Item = &'c Certificate> + Clone,
    ) -> Vec<&'a str> {
        let mut shown = Shown::default();
        let mut without = Vec::new();
        for host in hosts {
            let Some(certificate) = certificates.clone().find(|certificate| certificate.is_for(host)) else {
                without.push(host.as_str());
                continue;
            };
            let key = Arc::clone(&certificate.key);
            match is_address(host) {
                true => drop(shown.for_addresses.get_or_insert(key)),
                false => drop(shown.by_name.insert(host.clone(), key)),
            }
        }
        self.shown.store(Arc::new(shown));
        without
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.load();
        match name {
            // rustls gives names in lower case.
            Some(name) => shown.by_name.get(name).cloned(),
            None => shown.for_addresses.clone(),
        }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_challenge = client_hello.alpn().is_some_and(|mut protocols| {
            protocols.next() == Some(CHALLENGE_PROTOCOL) && protocols.next().is_none()
        });
        match &self.acme {
            Some(acme) if is_challenge => acme.alpn_certificate(client_hello.server_name()?),
            _ => self.find(client_hello.server_name()),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("shown", &self.shown).finish_non_exhaustive()
    }
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::tls::certificate::tests::pair;

    fn certificate(hosts: &[&str]) -> Certificate {
        let folder = tempfile::tempdir().expect("a folder");
        let files = pair(folder.path(), "x", hosts, (2020, 4000));
        Certificate::read(&files, SystemTime::now()).expect("it is good")
    }

    #[test]
    fn each_name_gets_its_own_certificate_and_unknown_names_none() {
        let [a, b] = [certificate(&["a.example"]), certificate(&["b.example", "a.example"])];
        let resolver = Resolver::default();
        let hosts = ["a.example", "b.example", "127.0.0.1"].map(str::to_owned);
        assert_eq!(resolver.show(&hosts, [&a, &b].into_iter()), ["127.0.0.1"]);
        let is_shown = |name, certificate: &Certificate| {
            resolver.find(name).is_some_and(|key| Arc::ptr_eq(&key, &certificate.key))
        };
        assert!(is_shown(Some("a.example"), &a) && is_shown(Some("b.example"), &b));
        assert!(resolver.find(Some("c.example")).is_none() && resolver.find(None).is_none());
    }

    #[test]
    fn who_asks_for_an_address_gets_the_certificate_for_it() {
        let local = certificate(&["localhost", "::1"]);
        let resolver = Resolver::default();
        let hosts = ["localhost", "[::1]"].map(str::to_owned);
        assert!(resolver.show(&hosts, [&local].into_iter()).is_empty());
        assert!(resolver.find(None).is_some());
    }
}
