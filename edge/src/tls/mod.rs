//! How connections are secured: versions, certificates by name, session tickets, HTTP/2 by ALPN. Certificates are
//! swapped while connections are being made; one that is no good is refused, and the old one stays.

mod certificate;
mod reload;
mod resolver;
mod tickets;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use arc_swap::ArcSwap;
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

/// What connections are secured with; it may change between two of them.
pub type ServerConfigs = Arc<ArcSwap<ServerConfig>>;

/// The protocol of a CA that looks at a certificate, and at nothing else (RFC 8737, section 4).
pub const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates in force, and what connections are secured with.
pub struct Tls {
    acme: Option<Arc<Acme>>,
    resolver: Arc<Resolver>,
    server_config: ServerConfigs,
    in_force: Mutex<InForce>,
}

/// What a policy says, and what was read of it.
#[derive(Clone)]
struct InForce {
    policy: TlsPolicy,
    hosts: Vec<String>,
    tickets: Option<Arc<Tickets>>,
    sources: Vec<Source>,
    /// What was read last of each source, in their order.
    certificates: Vec<Option<Certificate>>,
}

/// Where a certificate comes from.
#[derive(Clone)]
struct Source {
    files: CertificateFiles,
    /// By a CA that was asked for it: until it comes, it isn't there.
    is_ordered: bool,
}

/// What a changed policy asks for, read and found good.
pub struct Prepared {
    in_force: InForce,
    server_config: ServerConfig,
}

impl Tls {
    /// Reads the policy's certificates and those that `acme` has. Here every fault of the policy's own is one: there is
    /// no old certificate that could stay.
    pub fn open(policy: &Policy, acme: Option<Arc<Acme>>) -> anyhow::Result<Arc<Self>> {
        let takes_challenges =
            policy.acme.as_ref().is_some_and(|acme| acme.challenge == ChallengeKind::TlsAlpn01);
        let resolver = Arc::new(Resolver::new(acme.clone().filter(|_| takes_challenges)));
        let tickets = policy.tls.session_tickets.then(|| open_tickets(&policy.tls)).transpose()?;
        let in_force = InForce::read(policy, acme.as_deref(), tickets, None)?;
        let server_config = server_config(&in_force, &resolver, takes_challenges)?;
        in_force.show(&resolver, policy.acme.is_some())?;
        let server_config = Arc::new(ArcSwap::from_pointee(server_config));
        Ok(Arc::new(Self { acme, resolver, server_config, in_force: Mutex::new(in_force) }))
    }

    /// What connections are made with: it changes with the policy, certificates and tickets' keys change under it.
    pub fn server_configs(&self) -> ServerConfigs {
        Arc::clone(&self.server_config)
    }

    /// Reads what a changed policy asks for; nothing is changed yet. A certificate that is in force already and can't be
    /// read any more stays.
    pub fn prepare(&self, policy: &Policy) -> anyhow::Result<Prepared> {
        let old = self.lock().clone();
        let tickets = match old.tickets.clone() {
            _ if !policy.tls.session_tickets => None,
            Some(open) => Some(open),
            None => Some(open_tickets(&policy.tls)?),
        };
        let in_force = InForce::read(policy, self.acme.as_deref(), tickets, Some(&old))?;
        let takes_challenges =
            policy.acme.as_ref().is_some_and(|acme| acme.challenge == ChallengeKind::TlsAlpn01);
        let server_config = server_config(&in_force, &self.resolver, takes_challenges)?;
        // Shown to nobody: it is asked whether there is something to show.
        in_force.show(&Resolver::default(), policy.acme.is_some())?;
        Ok(Prepared { in_force, server_config })
    }

    /// From now on connections are made as it was prepared.
    pub fn commit(&self, prepared: Prepared) {
        let Prepared { in_force, server_config } = prepared;
        let mut current = self.lock();
        // It was asked before whether there is something to show.
        let _ = in_force.show(&self.resolver, true);
        self.server_config.store(Arc::new(server_config));
        *current = in_force;
    }

    /// Reads every certificate again. What is good is shown from now on; what isn't is told, and the old one stays.
    pub fn reload(&self) {
        let now = SystemTime::now();
        let mut in_force = self.lock();
        let InForce { sources, certificates, .. } = &mut *in_force;
        let mut refused = 0;
        for (old, source) in certificates.iter_mut().zip(sources) {
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
        let without = self.resolver.show(&in_force.hosts, in_force.certificates.iter().flatten());
        tracing::info!(refused, hosts_without = without.join(", "), "certificates were read again");
    }

    /// Says of each certificate when it ends, and warns of those that end soon.
    fn report_ends(&self, warns: bool) {
        let InForce { policy, sources, certificates, .. } = &*self.lock();
        for (certificate, source) in certificates.iter().zip(sources) {
            let Some(certificate) = certificate else { continue };
            let file = source.files.certificate.display().to_string();
            let ends = certificate.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            metrics::gauge!("edge_certificate_not_after_seconds", "file" => file.clone())
                .set(ends.as_secs_f64());
            let left = certificate.not_after.duration_since(SystemTime::now()).unwrap_or_default();
            if warns && left < policy.warn_before {
                let days_left = left.as_secs() / (24 * 60 * 60);
                tracing::warn!(file, days_left, "a certificate ends soon");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InForce {
    fn read(
        policy: &Policy,
        acme: Option<&Acme>,
        tickets: Option<Arc<Tickets>>,
        old: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let sources = sources(policy, acme);
        let now = SystemTime::now();
        let mut certificates = Vec::new();
        for source in &sources {
            certificates.push(match Certificate::read(&source.files, now) {
                Ok(certificate) => Some(certificate),
                Err(error) if source.is_ordered => {
                    tracing::info!(%error, "an ordered certificate is not there yet");
                    None
                }
                Err(error) => match old.and_then(|old| old.certificate(&source.files)) {
                    // Whoever reads the certificates again tells of it.
                    Some(known) => Some(known.clone()),
                    None => return Err(error).context("a certificate is refused"),
                },
            });
        }
        let (policy, hosts) = (policy.tls.clone(), policy.hosts.clone());
        Ok(Self { policy, hosts, tickets, sources, certificates })
    }

    fn certificate(&self, files: &CertificateFiles) -> Option<&Certificate> {
        let mut known = self.sources.iter().zip(&self.certificates);
        known.find(|(source, _)| source.files == *files).and_then(|(_, certificate)| certificate.as_ref())
    }

    fn show(&self, resolver: &Resolver, can_wait: bool) -> anyhow::Result<()> {
        let without = resolver.show(&self.hosts, self.certificates.iter().flatten());
        ensure!(
            can_wait || without.len() < self.hosts.len(),
            "no certificate is for any of the policy's hosts"
        );
        if !without.is_empty() {
            let hosts = without.join(", ");
            tracing::warn!(hosts, "no certificate is for these: who asks for them is refused");
        }
        Ok(())
    }
}

fn server_config(
    in_force: &InForce,
    resolver: &Arc<Resolver>,
    takes_challenges: bool,
) -> anyhow::Result<ServerConfig> {
    let versions: Vec<_> = in_force
        .policy
        .versions
        .iter()
        .map(|version| match version {
            TlsVersion::Tls12 => &TLS12,
            TlsVersion::Tls13 => &TLS13,
        })
        .collect();
    let resolver: Arc<Resolver> = Arc::clone(resolver);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&versions)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if takes_challenges {
        config.alpn_protocols.push(CHALLENGE_PROTOCOL.to_vec());
    }
    // Tickets hold all that a resumption needs; nothing is remembered of clients.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    match &in_force.tickets {
        Some(tickets) => {
            config.ticketer = Arc::clone(tickets) as _;
            config.send_tls13_tickets = TICKETS_A_HANDSHAKE;
        }
        None => config.send_tls13_tickets = 0,
    }
    Ok(config)
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
