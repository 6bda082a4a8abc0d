//! The keys that access tokens are signed with: Ed25519, one PKCS #8 PEM file a key, named by its key id. Both
//! backends read the same folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use access_token::{KeySet, PublicKey, jwks_document};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use jsonwebtoken::EncodingKey;
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

/// All keys of a folder.
pub struct SigningKeys {
    /// The id of the key that signs.
    pub kid: String,
    /// The key that signs.
    pub encoding: EncodingKey,
    /// The public halves of all keys.
    pub public: KeySet,
    /// The public halves as the JWK Set document that is published.
    pub jwks: String,
}

/// Makes the first key, if the folder holds none; returns its id. Safe when run twice at once.
pub fn init(dir: &Path) -> anyhow::Result<Option<String>> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("making {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    let lock = File::create(dir.join(".lock"))?;
    lock.lock()?;
    if !pem_files(dir)?.is_empty() {
        return Ok(None);
    }
    let mut seed = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut *seed);
    let pem = SigningKey::from_bytes(&seed).to_pkcs8_pem(LineEnding::LF).context("encoding the key")?;
    let kid = Uuid::now_v7().to_string();
    let path = dir.join(format!("{kid}.pem"));
    // Written under another name first: a reader never sees half a key.
    let unfinished = dir.join(format!("{kid}.unfinished"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, &path).with_context(|| format!("writing {}", path.display()))?;
    Ok(Some(kid))
}

impl SigningKeys {
    /// Reads the folder. The oldest key signs (ids are ordered by time); younger ones are published already, so
    /// that every verifier knows a key before it is used.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        let files = pem_files(dir)?;
        ensure!(!files.is_empty(), "{} holds no signing key: `backend keys init` makes one", dir.display());
        let mut public = Vec::new();
        let mut signing = None;
        for path in files {
            let context = || format!("reading the signing key {}", path.display());
            let kid = path.file_stem().and_then(|stem| stem.to_str()).with_context(context)?.to_owned();
            let pem = Zeroizing::new(fs::read_to_string(&path).with_context(context)?);
            let key = SigningKey::from_pkcs8_pem(&pem).map_err(anyhow::Error::msg).with_context(context)?;
            public.push(PublicKey::ed25519(&kid, URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes())));
            if signing.is_none() {
                signing = Some((kid, EncodingKey::from_ed_pem(pem.as_bytes()).with_context(context)?));
            }
        }
        let (kid, encoding) = signing.expect("there is at least one file");
        let jwks = jwks_document(&public);
        let public = KeySet::from_jwks(jwks.as_bytes()).context("the published keys")?;
        Ok(Self { kid, encoding, public, jwks })
    }
}

/// The key files, oldest first.
fn pem_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pem"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("keys");
        let kid = init(&dir).expect("made").expect("the first");
        assert_eq!(init(&dir).expect("left alone"), None);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join(format!("{kid}.pem"))), 0o600);
        let keys = SigningKeys::load(&dir).expect("loads");
        assert_eq!(keys.kid, kid);
        assert!(keys.public.contains(&kid) && keys.jwks.contains(&kid));
    }

    #[test]
    fn a_folder_without_keys_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = SigningKeys::load(folder.path()).err().expect("no key");
        assert!(error.to_string().contains("keys init"), "{error}");
    }
}
