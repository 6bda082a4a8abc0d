//! What lies below the requests: how connections are secured, and what they may cost.

use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::acme::{AcmePolicy, ChallengeKind};
use super::file;
use super::policy::{CertificateFiles, ConnectionPolicy, Pace, TlsPolicy, TlsVersion, Upgrade};
use super::{Fault, Places};

/// What a backend's server takes (hyper: 100 fields); what it would refuse bare is to be refused here.
const MOST_FIELDS: usize = 100;

const DAY: Duration = Duration::from_hours(24);

pub(super) fn tls(
    entry: Spanned<file::Tls>,
    has_acme: bool,
    folder: &Path,
    places: &Places<'_>,
    faults: &mut Vec<Fault>,
) -> TlsPolicy {
    let start = entry.span().start;
    let tls = entry.into_inner();
    if tls.versions.is_empty() {
        faults.push(places.fault(start, "`versions` is empty: nobody could connect"));
    }
    let mut versions = Vec::new();
    for text in &tls.versions {
        match text.get_ref().as_str() {
            "1.2" => versions.push(TlsVersion::Tls12),
            "1.3" => versions.push(TlsVersion::Tls13),
            other => {
                let message = format!("unknown TLS version `{other}`: expected 1.2 or 1.3");
                faults.push(places.fault(text.span().start, message));
            }
        }
    }
    if tls.certificates.is_empty() && !has_acme {
        faults.push(
            places.fault(start, "no certificate: `[[tls.certificates]]` names one, `[acme]` orders one"),
        );
    }
    let files = |pair: &file::Certificate| CertificateFiles {
        certificate: folder.join(&pair.certificate),
        private_key: folder.join(&pair.private_key),
    };
    TlsPolicy {
        versions,
        session_tickets: tls.session_tickets,
        ticket_keys: tls.ticket_keys.map(|file| folder.join(file)),
        warn_before: days(tls.warn_days),
        certificates: tls.certificates.iter().map(files).collect(),
    }
}

pub(super) fn acme(
    entry: Spanned<file::Acme>,
    folder: &Path,
    places: &Places<'_>,
    faults: &mut Vec<Fault>,
) -> Option<AcmePolicy> {
    let start = entry.span().start;
    let file = entry.into_inner();
    let policy = AcmePolicy {
        directory: file.directory,
        contact: file.contact,
        hosts: file.hosts,
        challenge: match file.challenge {
            file::Challenge::Http01 => ChallengeKind::Http01,
            file::Challenge::TlsAlpn01 => ChallengeKind::TlsAlpn01,
        },
        state: folder.join(file.state),
        roots: file.roots.map(|roots| folder.join(roots)),
        renew_before: file.renew_days.map(days),
    };
    let told = policy.checked();
    told.map_err(|messages| faults.extend(messages.into_iter().map(|m| places.fault(start, m)))).ok()
}

pub(super) fn connections(
    entry: Spanned<file::Connections>,
    places: &Places<'_>,
    faults: &mut Vec<Fault>,
) -> ConnectionPolicy {
    let start = entry.span().start;
    let file = entry.into_inner();
    let sizes = [
        ("max", file.max as u64),
        ("memory_mib", file.memory_mib as u64),
        ("max_per_address", file.max_per_address as u64),
        ("handshake_timeout_ms", file.handshake_timeout_ms),
        ("header_timeout_ms", file.header_timeout_ms),
        ("idle_timeout_ms", file.idle_timeout_ms),
        ("body_timeout_ms", file.body_timeout_ms),
        ("body_bytes_per_second", file.body_bytes_per_second),
        ("write_timeout_ms", file.write_timeout_ms),
        ("write_bytes_per_second", file.write_bytes_per_second),
        ("max_header_bytes", file.max_header_bytes as u64),
        ("max_header_fields", file.max_header_fields as u64),
        ("max_target_bytes", file.max_target_bytes as u64),
        ("max_streams", file.max_streams.into()),
        ("websocket_bytes_per_second", file.websocket_bytes_per_second),
    ];
    for (key, value) in sizes {
        if value == 0 {
            faults.push(places.fault(start, format!("`{key}` is at least 1")));
        }
    }
    if file.max_header_fields > MOST_FIELDS {
        faults.push(places.fault(start, format!("`max_header_fields` is at most {MOST_FIELDS}")));
    }
    if file.max_target_bytes > file.max_header_bytes {
        faults.push(places.fault(start, "`max_target_bytes` is above `max_header_bytes`"));
    }
    ConnectionPolicy {
        max: file.max,
        memory_bytes: file.memory_mib.saturating_mul(1024 * 1024),
        max_per_address: file.max_per_address,
        handshake_timeout: Duration::from_millis(file.handshake_timeout_ms),
        header_timeout: Duration::from_millis(file.header_timeout_ms),
        idle_timeout: Duration::from_millis(file.idle_timeout_ms),
        body_pace: pace(file.body_timeout_ms, file.body_bytes_per_second),
        write_pace: pace(file.write_timeout_ms, file.write_bytes_per_second),
        max_header_bytes: file.max_header_bytes,
        max_header_fields: file.max_header_fields,
        max_target_bytes: file.max_target_bytes,
        max_body_bytes: file.max_body_bytes,
        max_streams: file.max_streams,
        websocket_bytes_per_second: file.websocket_bytes_per_second,
    }
}

pub(super) fn upgrade(
    entry: Spanned<file::Upgrade>,
    folder: &Path,
    places: &Places<'_>,
    faults: &mut Vec<Fault>,
) -> Upgrade {
    let start = entry.span().start;
    let file::Upgrade { socket, drain_seconds } = entry.into_inner();
    if drain_seconds == 0 {
        faults.push(places.fault(start, "`drain_seconds` is at least 1"));
    }
    Upgrade { socket: folder.join(socket), drain: Duration::from_secs(drain_seconds) }
}

fn pace(grace_ms: u64, bytes_per_second: u64) -> Pace {
    // Zero is a fault that was told above.
    Pace { grace: Duration::from_millis(grace_ms), bytes_per_second: bytes_per_second.max(1) }
}

fn days(days: u64) -> Duration {
    DAY.saturating_mul(days.try_into().unwrap_or(u32::MAX))
}
