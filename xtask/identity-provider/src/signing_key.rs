//! The RSA key that an issuer signs with, and the file that keeps it over a restart.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;
use serde::Serialize;

/// The least that RS256 allows (RFC 7518, section 3.3).
const KEY_BITS: usize = 2048;

/// An RSA key for RS256.
pub(crate) struct SigningKey {
    private: EncodingKey,
    public: Jwk,
    header: Header,
}

impl SigningKey {
    /// Reads the PEM file at `path`, or makes it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            generate(path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::from_pem(&pem).with_context(|| format!("{} is not an RSA key in PEM", path.display()))
    }

    fn from_pem(pem: &[u8]) -> anyhow::Result<Self> {
        let private = EncodingKey::from_rsa_pem(pem)?;
        let mut public = Jwk::from_encoding_key(&private, Algorithm::RS256)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(kid);
        Ok(Self { private, public, header })
    }

    /// The half that is published.
    pub(crate) fn public(&self) -> &Jwk {
        &self.public
    }

    /// `claims` as a signed token.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, jsonwebtoken::errors::Error> {
        jsonwebtoken::encode(&self.header, claims, &self.private)
    }
}

/// Makes a key that is only ever seen whole: several processes may open the same folder at once, and all must
/// end up with the key of whoever was first.
fn generate(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let pem = RsaPrivateKey::new(&mut OsRng, KEY_BITS)?.to_pkcs8_pem(LineEnding::LF)?;
    let draft = path.with_extension(format!("{:016x}", rand::random::<u64>()));
    let written = write_private(&draft, pem.as_bytes()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // The draft may not exist if it could not be written; that error is the one to tell.
    let _ = fs::remove_file(&draft);
    Ok(written?)
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_may_read_the_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys/google.pem");
        SigningKey::open(&path).expect("the key is made");
        let mode = fs::metadata(&path).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = fs::read_dir(folder.path().join("keys")).expect("the folder is there").count();
        assert_eq!(files, 1, "the draft is gone");
    }

    #[test]
    fn all_who_open_the_folder_at_once_get_one_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("google.pem");
        let open = || SigningKey::open(&path).expect("the key opens").header.kid;
        let kids = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|t| t.join().expect("no thread panics")).collect::<Vec<_>>()
        });
        assert!(kids.iter().all(|kid| kid.is_some() && *kid == kids[0]), "{kids:?}");
    }

    #[test]
    fn a_file_that_holds_no_key_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("google.pem");
        fs::write(&path, "no key").expect("the file is written");
        assert!(SigningKey::open(&path).is_err());
    }
}
