//! The keys of an issuer: the one that signs and, after a rotation, the one before it, which stays published until it is
//! withdrawn.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use jsonwebtoken::jwk::JwkSet;

use crate::signing_key::SigningKey;

/// The keys in a folder's `NAME.pem` and `NAME-previous.pem`.
pub(crate) struct KeyRing {
    current_path: PathBuf,
    previous_path: PathBuf,
    keys: RwLock<Keys>,
}

#[derive(Clone)]
struct Keys {
    current: Arc<SigningKey>,
    previous: Option<Arc<SigningKey>>,
}

impl KeyRing {
    /// Reads the keys; makes the current one if there is none.
    pub(crate) fn open(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let current_path = folder.join(format!("{name}.pem"));
        let previous_path = folder.join(format!("{name}-previous.pem"));
        let current = Arc::new(SigningKey::open(&current_path)?);
        let previous = match previous_path.exists() {
            true => Some(Arc::new(SigningKey::open(&previous_path)?)),
            false => None,
        };
        Ok(Self { current_path, previous_path, keys: RwLock::new(Keys { current, previous }) })
    }

    /// The key that signs.
    pub(crate) fn current(&self) -> Arc<SigningKey> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner).current)
    }

    /// What is published.
    pub(crate) fn jwks(&self) -> JwkSet {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let all = std::iter::once(&keys.current).chain(&keys.previous);
        JwkSet { keys: all.map(|key| key.public().clone()).collect() }
    }

    /// Signs with a new key from now on; the one before stays published, or is withdrawn at once. Takes a moment: a key
    /// has to be found.
    pub(crate) fn rotate(&self, is_withdrawn: bool) -> anyhow::Result<()> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        fs::rename(&self.current_path, &self.previous_path).context("putting the key aside")?;
        let previous = Arc::clone(&keys.current);
        if is_withdrawn {
            fs::remove_file(&self.previous_path).context("withdrawing the key")?;
        }
        keys.current = Arc::new(SigningKey::open(&self.current_path)?);
        keys.previous = (!is_withdrawn).then_some(previous);
        Ok(())
    }
}
