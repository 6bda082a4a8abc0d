//! A certificate with its key, as PEM: whether it may replace the one in use, and when it is due for renewal.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{self, CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use super::state::{self, StateFolder};

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("it is not PEM: {0}")]
    Pem(#[from] pki_types::pem::Error),
    #[error("it holds no certificate")]
    Empty,
    #[error("it can't be parsed: {0}")]
    Parse(#[from] x509_parser::nom::Err<x509_parser::error::X509Error>),
    /// Also a key of another certificate, and a certificate of another host.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("its time is not now")]
    Time,
}

/// The chain and the key of a PEM text.
pub(super) fn read(
    pem: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CertificateError> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() {
        return Err(CertificateError::Empty);
    }
    Ok((chain, PrivateKeyDer::from_pem_slice(pem.as_bytes())?))
}

/// Checks that a certificate may be put in use for a host now; returns when it ends.
///
/// Whether clients trust its CA is not ours to say: the one that was configured issued it.
pub(super) fn check(pem: &str, host: &str, now: SystemTime) -> Result<SystemTime, CertificateError> {
    let (begins, ends) = lifetime(pem, host)?;
    if now < begins || ends <= now {
        return Err(CertificateError::Time);
    }
    Ok(ends)
}

/// When the host's certificate is due for renewal: in the past where there is none, or none that can be used.
pub(super) fn renewal(
    state: &StateFolder,
    host: &str,
    renew_before: Option<Duration>,
) -> io::Result<SystemTime> {
    let Some(pem) = state::read(&state.certificate(host))? else { return Ok(SystemTime::UNIX_EPOCH) };
    let Ok((begins, ends)) = lifetime(&pem, host) else { return Ok(SystemTime::UNIX_EPOCH) };
    metrics::gauge!("edge_acme_certificate_expiry_timestamp_seconds", "host" => host.to_owned())
        .set(ends.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    let lifetime = ends.duration_since(begins).unwrap_or_default();
    Ok(ends - early(lifetime, renew_before))
}

/// How long before its end a certificate is renewed. Half its lifetime at most: else it would be due at once, and
/// with each look again.
fn early(lifetime: Duration, renew_before: Option<Duration>) -> Duration {
    renew_before.unwrap_or(lifetime / 3).min(lifetime / 2)
}

/// From when to when the leaf is valid, where key and chain can be used for the host.
fn lifetime(pem: &str, host: &str) -> Result<(SystemTime, SystemTime), CertificateError> {
    let (chain, key) = read(pem)?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
    for issuer in &certified.cert[1..] {
        X509Certificate::from_der(issuer)?;
    }
    let leaf = certified.end_entity_cert()?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| rustls::Error::General(format!("`{host}` is not a name")))?;
    verify_server_name(&ParsedCertificate::try_from(leaf)?, &name)?;
    let (_, leaf) = X509Certificate::from_der(leaf)?;
    let validity = leaf.validity();
    Ok((time(validity.not_before), time(validity.not_after)))
}

fn time(of: ASN1Time) -> SystemTime {
    // No certificate in use is older than 1970.
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(of.timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn issue(host: &str, key: &KeyPair) -> String {
        let mut parameters = CertificateParams::new([host.to_owned()]).expect("a name");
        parameters.not_before = date_time_ymd(2024, 1, 1);
        parameters.not_after = date_time_ymd(2024, 3, 31);
        parameters.self_signed(key).expect("a certificate").pem()
    }

    fn day(of_2024: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * (19_723 + of_2024)
    }

    #[test]
    fn only_a_whole_and_valid_certificate_of_the_host_may_replace_one() {
        let key = KeyPair::generate().expect("a key");
        let good = key.serialize_pem() + &issue("a.example", &key);
        assert_eq!(check(&good, "a.example", day(10)).expect("good"), day(90));
        let of_other_key = KeyPair::generate().expect("a key").serialize_pem() + &issue("a.example", &key);
        let broken_issuer = format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for (what, pem, host, now) in [
            ("another host", good.as_str(), "b.example", day(10)),
            ("not yet", &good, "a.example", day(0) - DAY),
            ("no more", &good, "a.example", day(90)),
            ("another key", &of_other_key, "a.example", day(10)),
            ("a broken chain", &broken_issuer, "a.example", day(10)),
            ("no certificate", &key.serialize_pem(), "a.example", day(10)),
            ("no key", &issue("a.example", &key), "a.example", day(10)),
            ("nothing", "", "a.example", day(10)),
        ] {
            check(pem, host, now).expect_err(what);
        }
    }

    #[test]
    fn a_third_of_the_lifetime_before_the_end_it_is_due() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path()).expect("a state folder");
        let due = |renew_before| renewal(&state, "a.example", renew_before).expect("readable");
        assert_eq!(due(None), SystemTime::UNIX_EPOCH);
        let key = KeyPair::generate().expect("a key");
        let pem = key.serialize_pem() + &issue("a.example", &key);
        std::fs::write(state.certificate("a.example"), pem).expect("written");
        assert_eq!(due(None), day(60));
        assert_eq!(due(Some(10 * DAY)), day(80));
        assert_eq!(due(Some(365 * DAY)), day(45), "never as soon as it is issued");
    }
}
