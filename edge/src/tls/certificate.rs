//! One certificate with its key, read and judged before anybody is shown it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::CertificateFiles;

/// Why a certificate is refused.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file isn't there or may not be read.
    #[error("{} can't be read: {source}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No PEM, or not of the kind that was looked for.
    #[error("{} holds no {what}: {source}", .file.display())]
    NoPem {
        /// Which file.
        file: PathBuf,
        /// Certificate or private key.
        what: &'static str,
        /// Why.
        source: pem::Error,
    },
    /// The certificate is no X.509.
    #[error("{} is no certificate: {reason}", .file.display())]
    Broken {
        /// Which file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is another certificate's, or of a kind that can't sign.
    #[error("the key {} can't be used with {}: {source}", .key.display(), .certificate.display())]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Its time is over.
    #[error("{} ended {} ago", .file.display(), days(.since))]
    Expired {
        /// Which file.
        file: PathBuf,
        /// Since when.
        since: Duration,
    },
    /// Its time hasn't begun.
    #[error("{} isn't valid yet", .file.display())]
    NotYetValid {
        /// Which file.
        file: PathBuf,
    },
}

/// A certificate that may be shown.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// What rustls shows and signs with.
    pub key: Arc<CertifiedKey>,
    /// When it ends.
    pub not_after: SystemTime,
}

impl Certificate {
    /// Reads a chain and its key, and refuses what no client would accept at `now`.
    pub fn read(files: &CertificateFiles, now: SystemTime) -> Result<Self, CertificateError> {
        let CertificateFiles { certificate, private_key } = files;
        let no_pem = |file: &Path, what, source| CertificateError::NoPem { file: file.into(), what, source };
        let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|source| no_pem(certificate, "certificate", source))?;
        let key = PrivateKeyDer::from_pem_slice(&read(private_key)?)
            .map_err(|source| no_pem(private_key, "private key", source))?;
        let not_after = check_validity(certificate, &chain[0], now)?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|source| {
            CertificateError::KeyMismatch {
                key: private_key.clone(),
                certificate: certificate.clone(),
                source,
            }
        })?;
        Ok(Self { key: Arc::new(key), not_after })
    }

    /// Whether it is for this host: a name, or an address (IPv6 in brackets).
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let Ok(name) = ServerName::try_from(host) else { return false };
        self.key
            .end_entity_cert()
            .and_then(ParsedCertificate::try_from)
            .and_then(|leaf| verify_server_name(&leaf, &name))
            .is_ok()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(file).map_err(|source| CertificateError::Unreadable { file: file.into(), source })
}

fn check_validity(
    file: &Path,
    leaf: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<SystemTime, CertificateError> {
    let broken = |reason: String| CertificateError::Broken { file: file.into(), reason };
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| broken(error.to_string()))?;
    let validity = leaf.validity();
    let not_before = time(validity.not_before.timestamp());
    let not_after = time(validity.not_after.timestamp());
    if let Ok(since) = now.duration_since(not_after) {
        return Err(CertificateError::Expired { file: file.into(), since });
    }
    if not_before > now {
        return Err(CertificateError::NotYetValid { file: file.into() });
    }
    Ok(not_after)
}

fn time(unix_seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_seconds.try_into().unwrap_or(0))
}

fn days(duration: &Duration) -> String {
    format!("{} days", duration.as_secs() / (24 * 60 * 60))
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A pair of files for these hosts, valid in the given years.
    pub(crate) fn pair(folder: &Path, name: &str, hosts: &[&str], years: (i32, i32)) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key");
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let files = CertificateFiles {
            certificate: folder.join(format!("{name}.pem")),
            private_key: folder.join(format!("{name}-key.pem")),
        };
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(&files.certificate, certificate.pem()).expect("written");
        std::fs::write(&files.private_key, key.serialize_pem()).expect("written");
        files
    }

    fn refusal(files: &CertificateFiles) -> String {
        Certificate::read(files, SystemTime::now()).expect_err("it is refused").to_string()
    }

    #[test]
    fn a_certificate_is_for_the_hosts_that_it_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = pair(folder.path(), "a", &["gate.example", "*.sub.example", "127.0.0.1"], (2020, 4000));
        let certificate = Certificate::read(&files, SystemTime::now()).expect("it is good");
        for host in ["gate.example", "GATE.example", "x.sub.example", "127.0.0.1"] {
            assert!(certificate.is_for(host), "{host}");
        }
        for host in ["other.example", "sub.example", "127.0.0.2", "[::1]", "", "a b"] {
            assert!(!certificate.is_for(host), "{host}");
        }
    }

    #[test]
    fn what_no_client_would_accept_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = pair(folder.path(), "good", &["a.example"], (2020, 4000));
        let other = pair(folder.path(), "other", &["a.example"], (2020, 4000));
        let mixed = CertificateFiles { private_key: other.private_key, ..good.clone() };
        assert!(refusal(&mixed).contains("can't be used with"), "{}", refusal(&mixed));
        let expired = pair(folder.path(), "expired", &["a.example"], (2001, 2002));
        assert!(refusal(&expired).contains("ended"), "{}", refusal(&expired));
        let early = pair(folder.path(), "early", &["a.example"], (3999, 4000));
        assert!(refusal(&early).contains("isn't valid yet"), "{}", refusal(&early));
        let missing = CertificateFiles { certificate: folder.path().join("none"), ..good.clone() };
        assert!(refusal(&missing).contains("can't be read"), "{}", refusal(&missing));
        let swapped = CertificateFiles { certificate: good.private_key.clone(), ..good.clone() };
        assert!(refusal(&swapped).contains("holds no certificate"), "{}", refusal(&swapped));
        std::fs::write(&good.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .expect("written");
        assert!(refusal(&good).contains("is no certificate"), "{}", refusal(&good));
    }
}
