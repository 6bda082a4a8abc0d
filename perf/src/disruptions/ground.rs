//! What a run stands on: a folder, ports, a CA, tokens' keys, and the servers behind the edge.

use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use access_token::{PublicKey, jwks_document};
use anyhow::{Context, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ring::rand::{SecureRandom, SystemRandom};
use tempfile::TempDir;

use crate::disruptions::upstream::Upstream;

/// Below those that the system gives to connections: else one of them may sit on a port that a server is to come back to.
const PORTS: Range<u16> = 18_000..32_000;
/// From the ports of one process to those of the next.
const STRIDE: u32 = 97;
/// How many servers are behind the edge.
pub(super) const SERVERS: usize = 2;

/// All of it goes when it is dropped.
pub(super) struct Ground {
    // Before the folder: in this order they go.
    pub(super) servers: Vec<Upstream>,
    /// HTTPS, HTTP, admin.
    pub(super) ports: [u16; 3],
    ca: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Ground {
    /// Prepares the folder and starts the servers.
    pub(super) fn prepare() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("disruptions-").tempdir()?;
        let mut ports = free_ports(3 + 2 * SERVERS)?.into_iter();
        let mut next = || ports.next().context("a free port");
        let own = [next()?, next()?, next()?];
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("web/admin"))?;
        fs::write(at("web/index.html"), page())?;
        fs::write(at("web/admin/index.html"), page())?;
        fs::write(at("jwks.json"), jwks()?)?;
        let ca = certificate_authority(&at("ca.pem"))?;
        let mut servers = Vec::new();
        for number in 0..SERVERS {
            servers.push(Upstream::start(number, [next()?, next()?], &at("jwks.json"))?);
        }
        let ground = Self { servers, ports: own, ca, folder };
        ground.renew_certificate()?;
        Ok(ground)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts another certificate of the CA, with another key, in the place of the one that is there; says what it is.
    pub(super) fn renew_certificate(&self) -> anyhow::Result<Vec<u8>> {
        let key = KeyPair::generate()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.ca)?;
        // Each in one step; a pair that doesn't fit is refused meanwhile.
        for (name, text) in [("key.pem", key.serialize_pem()), ("certificate.pem", certificate.pem())] {
            let beside = self.path("new.pem");
            fs::write(&beside, text)?;
            fs::rename(&beside, self.path(name))?;
        }
        Ok(certificate.der().to_vec())
    }
}

/// Some kB, as a page has.
fn page() -> String {
    "<p>a page that the edge itself serves</p>\n".repeat(100)
}

fn certificate_authority(file: &Path) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "a CA of its own");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(file, params.self_signed(&key)?.pem())?;
    Ok(Issuer::new(params, key))
}

/// Nobody comes with a token, but the edge wants to know a key.
fn jwks() -> anyhow::Result<String> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| anyhow!("no random numbers"))?;
    let key = SigningKey::from_bytes(&seed).verifying_key();
    Ok(jwks_document(&[PublicKey::ed25519("key-1", URL_SAFE_NO_PAD.encode(key.as_bytes()))]))
}

/// Held at the same time, so that they differ. The search begins far away from that of a process that was started just
/// before or after this one.
fn free_ports(number: usize) -> anyhow::Result<Vec<u16>> {
    let own = u16::try_from(std::process::id().wrapping_mul(STRIDE) % u32::from(PORTS.end - PORTS.start))?;
    let order = (PORTS.start + own..PORTS.end).chain(PORTS.start..PORTS.start + own);
    let free = order.filter_map(|port| Some((port, TcpListener::bind(("127.0.0.1", port)).ok()?)));
    let (ports, held): (Vec<u16>, Vec<TcpListener>) = free.take(number).unzip();
    mem::drop(held);
    ensure!(ports.len() == number, "too few ports are free");
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let mut ports = free_ports(7).expect("ports");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 7);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }
}
