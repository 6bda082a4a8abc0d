//! Which certificate is shown for which name.

use std::time::SystemTime;

use super::writer::{Writer, quoted};
use super::{Inexpressible, Places};
use crate::config::{CertificateFiles, Policy, TlsPolicy, TlsVersion};
use crate::tls::Certificate;

/// What is shown to whom.
pub(super) struct Shown<'a> {
    pub(super) groups: Vec<Group<'a>>,
    /// Named hosts that no certificate is for: they are served on connections that were made to an address only.
    pub(super) without: Vec<usize>,
}

/// Hosts that one certificate is for.
pub(super) struct Group<'a> {
    pub(super) files: &'a CertificateFiles,
    pub(super) hosts: Vec<usize>,
    /// Whether it is shown to clients that name nobody, since they asked for an address.
    pub(super) is_default: bool,
}

/// Each host's first certificate that is for it. Where there is one only, it is for all; else they are read.
pub(super) fn shown(policy: &Policy) -> Result<Shown<'_>, Vec<Inexpressible>> {
    let files = &policy.tls.certificates;
    let fault = |what: &str, why: String| vec![Inexpressible { what: what.to_owned(), why }];
    if files.is_empty() {
        let why = "nginx orders no certificates: name the files in `[[tls.certificates]]`";
        return Err(fault("`[acme]`", why.to_owned()));
    }
    let mut read = Vec::new();
    if files.len() > 1 {
        for pair in files {
            let certificate = Certificate::read(pair, SystemTime::now());
            read.push(certificate.map_err(|error| fault("a certificate's hosts", error.to_string()))?);
        }
    }
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut has_default = false;
    for (number, host) in policy.hosts.iter().enumerate() {
        let index = if files.len() == 1 { Some(0) } else { read.iter().position(|one| one.is_for(host)) };
        let Some(index) = index else { continue };
        let is_first_address = is_address(host) && !has_default;
        has_default |= is_address(host);
        match groups.iter_mut().find(|group| group.files == &files[index]) {
            Some(group) => {
                group.is_default |= is_first_address;
                if !group.hosts.iter().any(|known| policy.hosts[*known] == *host) {
                    group.hosts.push(number);
                }
            }
            None => {
                groups.push(Group { files: &files[index], hosts: vec![number], is_default: is_first_address })
            }
        }
    }
    let is_shown = |host: usize| {
        let mut shown = groups.iter().flat_map(|group| &group.hosts);
        shown.any(|known| policy.hosts[*known] == policy.hosts[host])
    };
    let without = (0..policy.hosts.len()).filter(|host| policy.host(&policy.hosts[*host]) == Some(*host));
    let without = without.filter(|host| !is_shown(*host));
    let (addresses, without): (Vec<_>, _) = without.partition(|host| is_address(&policy.hosts[*host]));
    // Clients that asked for an address name nobody: one without a certificate of its own comes by another's.
    if let Some(default) = groups.iter_mut().find(|group| group.is_default) {
        default.hosts.extend(addresses);
    }
    Ok(Shown { groups, without })
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok()
}

/// The lines of a server.
pub(super) fn tls_lines(w: &mut Writer, policy: &TlsPolicy, files: &CertificateFiles, places: &Places) {
    w.line(format!("ssl_certificate {};", quoted(&places.beside(&files.certificate))));
    w.line(format!("ssl_certificate_key {};", quoted(&places.beside(&files.private_key))));
    let versions = policy.versions.iter().map(|version| match version {
        TlsVersion::Tls12 => "TLSv1.2",
        TlsVersion::Tls13 => "TLSv1.3",
    });
    w.line(format!("ssl_protocols {};", versions.collect::<Vec<_>>().join(" ")));
    // Those of rustls, of TLS 1.2; of TLS 1.3 all are good.
    w.line("ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305;");
    w.line(format!("ssl_session_tickets {};", if policy.session_tickets { "on" } else { "off" }));
}
