//! The development certificates: a CA of this stack's own, and the certificate for localhost that it signs.
//! Nothing is installed into the system; whoever wants to trust the CA is told its path.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::{state_dir, validity};

const DAY: Duration = Duration::from_hours(24);
const CA_LIFETIME: Duration = Duration::from_hours(24 * 3650);
const LEAF_LIFETIME: Duration = Duration::from_hours(24 * 365);
/// A certificate that ends within this time is made anew.
const RENEW_BEFORE: Duration = Duration::from_hours(24 * 30);
/// Clocks differ; a certificate is valid from a little before it was made.
const BACKDATED: Duration = Duration::from_hours(1);

/// Where the certificates lie.
#[derive(Debug)]
struct Files {
    ca: PathBuf,
    ca_key: PathBuf,
    leaf: PathBuf,
    leaf_key: PathBuf,
}

/// Makes what is missing or about to end: the CA in one folder, the certificate and its key in another, which may be
/// the same. Says whether anything was made.
pub(crate) fn ensure(ca: &Path, leaf: &Path) -> anyhow::Result<bool> {
    Files {
        ca: ca_file(ca),
        ca_key: ca.join("ca-key.pem"),
        leaf: leaf.join("localhost.pem"),
        leaf_key: leaf.join("localhost-key.pem"),
    }
    .ensure(SystemTime::now())
}

/// The CA's certificate in its folder.
pub(crate) fn ca_file(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

impl Files {
    fn ensure(&self, now: SystemTime) -> anyhow::Result<bool> {
        let ca_is_good = is_good(&self.ca, &self.ca_key, now);
        if !ca_is_good {
            self.make_ca(now).context("cannot make the development CA")?;
        }
        if ca_is_good && is_good(&self.leaf, &self.leaf_key, now) {
            return Ok(false);
        }
        self.make_leaf(now).context("cannot make the certificate for localhost")?;
        Ok(true)
    }

    fn make_ca(&self, now: SystemTime) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let certificate = ca_params(now).self_signed(&key)?;
        // The certificate last: with it, the pair counts as there.
        state_dir::write_private(&self.ca_key, key.serialize_pem().as_bytes())?;
        state_dir::write_private(&self.ca, certificate.pem().as_bytes())
    }

    fn make_leaf(&self, now: SystemTime) -> anyhow::Result<()> {
        let ca_key = KeyPair::from_pem(&fs::read_to_string(&self.ca_key)?)?;
        // Of the CA, only its name, its key and the key's uses go into what it signs: all are the same each time.
        let issuer = Issuer::new(ca_params(now), ca_key);
        let key = KeyPair::generate()?;
        // Not the CA with it: whoever trusts it has it (RFC 8446, section 4.4.2).
        let leaf = leaf_params(now)?.signed_by(&key, &issuer)?.pem();
        state_dir::write_private(&self.leaf_key, key.serialize_pem().as_bytes())?;
        state_dir::write_private(&self.leaf, leaf.as_bytes())
    }
}

fn is_good(certificate: &Path, key: &Path, now: SystemTime) -> bool {
    let last_day = fs::read_to_string(certificate).ok().and_then(|pem| validity::last_day(&pem));
    key.exists() && last_day.is_some_and(|day| day > validity::Day::of(now + RENEW_BEFORE))
}

fn ca_params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Daemun development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, CA_LIFETIME);
    params
}

fn leaf_params(now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
    ];
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params, now, LEAF_LIFETIME);
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, lifetime: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(DAY);
    params.not_before = epoch + (now - BACKDATED);
    params.not_after = epoch + (now + lifetime);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    fn files() -> (Files, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        let files =
            Files { ca: file("ca"), ca_key: file("ca-key"), leaf: file("leaf"), leaf_key: file("leaf-key") };
        (files, folder)
    }

    /// Whether a TLS client that trusts the CA alone accepts the server under `name` at `at`.
    fn is_accepted(files: &Files, name: &'static str, at: SystemTime) -> bool {
        let read = |path: &Path| CertificateDer::from_pem_file(path).expect("a certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(read(&files.ca)).expect("a CA");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let name = ServerName::try_from(name).expect("a name");
        let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).expect("after 1970"));
        let verifier = verifier.expect("a verifier");
        verifier.verify_server_cert(&read(&files.leaf), &[], &name, &[], at).is_ok()
    }

    #[test]
    fn the_certificate_is_valid_for_this_machine_and_a_year() {
        let (files, _folder) = files();
        let now = SystemTime::now();
        assert!(files.ensure(now).expect("it is made"));
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert!(is_accepted(&files, name, now), "{name}");
        }
        assert!(is_accepted(&files, "localhost", now + LEAF_LIFETIME - DAY));
        assert!(!is_accepted(&files, "localhost", now + LEAF_LIFETIME + DAY));
        assert!(!is_accepted(&files, "example.com", now));
    }

    #[test]
    fn it_is_kept_until_thirty_days_before_its_end_and_then_signed_anew_by_the_same_ca() {
        let (files, _folder) = files();
        let now = SystemTime::now();
        files.ensure(now).expect("it is made");
        let ca = fs::read(&files.ca).expect("a CA");
        let keep_until = now + LEAF_LIFETIME - RENEW_BEFORE - 2 * DAY;
        assert!(!files.ensure(keep_until).expect("it is still good"));
        let late = now + LEAF_LIFETIME - RENEW_BEFORE + 2 * DAY;
        assert!(files.ensure(late).expect("it is renewed"));
        assert_eq!(fs::read(&files.ca).expect("a CA"), ca);
        assert!(is_accepted(&files, "localhost", late + LEAF_LIFETIME - DAY));
    }

    #[test]
    fn whatever_is_missing_is_made_again() {
        let (files, _folder) = files();
        let now = SystemTime::now();
        files.ensure(now).expect("it is made");
        for path in [&files.leaf, &files.leaf_key, &files.ca_key, &files.ca] {
            fs::remove_file(path).expect("it is there");
            assert!(files.ensure(now).expect("it is made again"), "{}", path.display());
            assert!(is_accepted(&files, "localhost", now), "{}", path.display());
        }
        fs::write(&files.leaf, "no certificate").expect("it is written");
        assert!(files.ensure(now).expect("it is made again"));
    }

    #[test]
    fn the_keys_are_their_owners_only() {
        let (files, _folder) = files();
        files.ensure(SystemTime::now()).expect("it is made");
        for path in [&files.ca_key, &files.leaf_key] {
            let mode = fs::metadata(path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
