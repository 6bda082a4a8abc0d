//! How connections are secured: versions, certificates by name, session tickets, HTTP/2 by ALPN. Certificates are
//! swapped while connections are being made; one that is no good is refused, and the old one stays.

mod certificate;
mod reload;
mod resolver;
mod tickets;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};

pub use certificate::{Certificate, CertificateError};
pub use reload::Reloader;
pub use resolver::Resolver;
pub use tickets::Tickets;

use crate::acme::Acme;
use crate::config::{CertificateFiles, ChallengeKind, Policy, TlsPolicy, TlsVersion};

/// One ticket a handshake is as many as a client that keeps its connection open uses; rustls would make two.
const TICKETS_A_HANDSHAKE: usize = 1;

/// The protocol of a CA that looks at a certificate, and at nothing else (RFC 8737, section 4).
pub const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates in force, and what connections are secured with.
pub struct Tls {
    policy: TlsPolicy,
    hosts: Vec<String>,
    takes_challenges: bool,
    resolver: Arc<Resolver>,
    tickets: Option<Arc<Tickets>>,
    sources: Vec<Source>,
    /// What was read last of each source, in their order.
    certificates: Mutex<Vec<Option<Certificate>>>,
}

/// Where a certificate comes from.
struct Source {
    files: CertificateFiles,
    /// By a CA that was asked for it: until it comes, it isn't there.
    is_ordered: bool,
}

impl Tls {
    /// Reads the policy's certificates and those that `acme` has. Here every fault of the policy's own is one: there is
    /// no old certificate that could stay.
    pub fn open(policy: &Policy, acme: Option<Arc<Acme>>) -> anyhow::Result<Arc<Self>> {
        let sources = sources(policy, acme.as_deref());
        let now = SystemTime::now();
        let mut certificates = Vec::new();
        for source in &sources {
            certificates.push(match Certificate::read(&source.files, now) {
                Ok(certificate) => Some(certificate),
                Err(error) if source.is_ordered => {
                    tracing::info!(%error, "an ordered certificate is not there yet");
                    None
                }
                Err(error) => return Err(error).context("a certificate is refused"),
            });
        }
        let takes_challenges =
            policy.acme.as_ref().is_some_and(|acme| acme.challenge == ChallengeKind::TlsAlpn01);
        let resolver = Arc::new(Resolver::new(acme.filter(|_| takes_challenges)));
        let without = resolver.show(&policy.hosts, certificates.iter().flatten());
        let can_wait = policy.acme.is_some();
        ensure!(
            can_wait || without.len() < policy.hosts.len(),
            "no certificate is for any of the policy's hosts"
        );
        if !without.is_empty() {
            tracing::warn!(
                hosts = without.join(", "),
                "no certificate is for these: who asks for them is refused"
            );
        }
        let tickets = policy.tls.session_tickets.then(|| open_tickets(&policy.tls)).transpose()?;
        Ok(Arc::new(Self {
            policy: policy.tls.clone(),
            hosts: policy.hosts.clone(),
            takes_challenges,
            resolver,
            tickets,
            sources,
            certificates: Mutex::new(certificates),
        }))
    }

    /// What each connection is made with. Certificates and tickets' keys change under it.
    pub fn server_config(&self) -> anyhow::Result<ServerConfig> {
        let versions: Vec<_> = self
            .policy
            .versions
            .iter()
            .map(|version| match version {
                TlsVersion::Tls12 => &TLS12,
                TlsVersion::Tls13 => &TLS13,
            })
            .collect();
        let resolver: Arc<Resolver> = Arc::clone(&self.resolver);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if self.takes_challenges {
            config.alpn_protocols.push(CHALLENGE_PROTOCOL.to_vec());
        }
        // Tickets hold all that a resumption needs; nothing is remembered of clients.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        match &self.tickets {
            Some(tickets) => {
                config.ticketer = Arc::clone(tickets) as _;
                config.send_tls13_tickets = TICKETS_A_HANDSHAKE;
            }
            None => config.send_tls13_tickets = 0,
        }
        Ok(config)
    }

    /// Reads every certificate again. What is good is shown from now on; what isn't is told, and the old one stays.
    pub fn reload(&self) {
        let now = SystemTime::now();
        let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = 0;
        for (old, source) in certificates.iter_mut().zip(&self.sources) {
            match Certificate::read(&source.files, now) {
                Ok(new) => *old = Some(new),
                Err(CertificateError::Unreadable { .. }) if source.is_ordered && old.is_none() => {}
                Err(error) => {
                    refused += 1;
                    tracing::error!(%error, "a certificate is refused; the old one stays in force");
                }
            }
        }
        let result = if refused == 0 { "ok" } else { "refused" };
        metrics::counter!("edge_certificate_reloads_total", "result" => result).increment(1);
        let without = self.resolver.show(&self.hosts, certificates.iter().flatten());
        tracing::info!(refused, hosts_without = without.join(", "), "certificates were read again");
    }

    /// Says of each certificate when it ends, and warns of those that end soon.
    fn report_ends(&self, warns: bool) {
        let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        for (certificate, source) in certificates.iter().zip(&self.sources) {
            let Some(certificate) = certificate else { continue };
            let file = source.files.certificate.display().to_string();
            let ends = certificate.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            metrics::gauge!("edge_certificate_not_after_seconds", "file" => file.clone())
                .set(ends.as_secs_f64());
            let left = certificate.not_after.duration_since(SystemTime::now()).unwrap_or_default();
            if warns && left < self.policy.warn_before {
                let days_left = left.as_secs() / (24 * 60 * 60);
                tracing::warn!(file, days_left, "a certificate ends soon");
            }
        }
    }
}

fn sources(policy: &Policy, acme: Option<&Acme>) -> Vec<Source> {
    let own = policy.tls.certificates.iter().cloned().map(|files| Source { files, is_ordered: false });
    let hosts = policy.acme.iter().flat_map(|acme| &acme.hosts);
    let ordered = acme.into_iter().flat_map(|acme| hosts.clone().map(|host| acme.certificate_file(host)));
    let ordered = ordered.map(|file| Source {
        files: CertificateFiles { certificate: file.clone(), private_key: file },
        is_ordered: true,
    });
    own.chain(ordered).collect()
}

/// A place that can't be written costs resumption after a restart, not the service.
fn open_tickets(policy: &TlsPolicy) -> anyhow::Result<Arc<Tickets>> {
    match Tickets::open(policy.ticket_keys.as_deref()) {
        Ok(tickets) => Ok(tickets),
        Err(error) => {
            let file = policy.ticket_keys.as_ref().map(|file| file.display().to_string());
            tracing::warn!(file, %error, "tickets' keys can't be kept: clients don't resume after a restart");
            Tickets::open(None).context("no keys for session tickets")
        }
    }
}
