//! What all contestants share: a folder, a certificate, tokens, and the servers behind them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::race::tokens::Tokens;
use crate::race::upstreams::Upstreams;

/// Whom the full policy lets in, as many as a real list might hold. Clients come from the first; 127.128.0.0/9 is left
/// out, so that a refusal can be seen.
pub(super) const ALLOWED: [&str; 20] = [
    "127.0.0.0/9",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "100.64.0.0/10",
    "198.18.0.0/15",
    "192.88.99.0/24",
    "203.0.112.7/32",
    "203.0.112.9/32",
    "203.0.112.64/26",
    "198.51.96.0/22",
    "192.0.0.0/29",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "fd00::/8",
    "fe80::/10",
    "::1/128",
];

/// A limit that the full policy counts and that no load here reaches: so many in [`LIMIT_SECONDS`], at once or not.
pub(super) const LIMIT_REQUESTS: u32 = 1_000_000_000;
pub(super) const LIMIT_SECONDS: u32 = 3_600;

/// The ground that a race is run on.
pub(super) struct Ground {
    pub(super) folder: Folder,
    pub(super) tokens: Tokens,
    pub(super) upstreams: Upstreams,
    /// Threads of each contestant.
    pub(super) workers: usize,
    pub(super) access_log: bool,
    /// Whether those who can may remember a token that they verified.
    pub(super) remember_tokens: bool,
}

/// Where everything is written.
pub(super) enum Folder {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    /// A folder with the certificate, its key, and the tokens' public keys.
    pub(super) fn prepare(kept: Option<&Path>, tokens: &Tokens) -> anyhow::Result<Self> {
        let folder = match kept {
            Some(path) => {
                fs::create_dir_all(path).with_context(|| path.display().to_string())?;
                Self::Kept(path.canonicalize()?)
            }
            None => Self::Temporary(tempfile::Builder::new().prefix("race-").tempdir()?),
        };
        let key = KeyPair::generate()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.self_signed(&key)?.pem();
        folder.write("both.pem", &format!("{certificate}{}", key.serialize_pem()))?;
        folder.write("key.pem", &key.serialize_pem())?;
        folder.write("certificate.pem", &certificate)?;
        folder.write("jwks.json", &tokens.jwks())?;
        folder.write("es256.pem", &tokens.es256_public_pem())?;
        Ok(folder)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Kept(path) => path.join(name),
            Self::Temporary(folder) => folder.path().join(name),
        }
    }

    /// Writes a file, and says where it is.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}
