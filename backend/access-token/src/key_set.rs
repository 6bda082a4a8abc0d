//! The public keys that access tokens are verified with, as a JWK Set carries them (RFC 7517, RFC 8037).

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};

/// A set larger than this is refused: ours holds two or three keys, and the source is read unattended.
const MAX_KEYS: usize = 16;

/// One Ed25519 public key as a JWK (RFC 8037, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// Key type, `OKP` for Ed25519.
    pub kty: String,
    /// Curve, `Ed25519`.
    #[serde(default)]
    pub crv: String,
    /// The id that a token's header names.
    #[serde(default)]
    pub kid: String,
    /// The key itself: 32 bytes, base64url without padding.
    #[serde(default)]
    pub x: String,
    /// What the key is for: `sig`.
    #[serde(default, rename = "use")]
    pub usage: String,
    /// The one algorithm that the key may be used with: `EdDSA`.
    #[serde(default)]
    pub alg: String,
}

impl PublicKey {
    /// The JWK of an Ed25519 key; `x` is its 32 bytes in base64url without padding.
    pub fn ed25519(kid: impl Into<String>, x: impl Into<String>) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            kid: kid.into(),
            x: x.into(),
            usage: "sig".into(),
            alg: "EdDSA".into(),
        }
    }

    fn is_usable(&self) -> bool {
        self.kty == "OKP"
            && self.crv == "Ed25519"
            && !self.kid.is_empty()
            && matches!(self.usage.as_str(), "" | "sig")
            && matches!(self.alg.as_str(), "" | "EdDSA")
    }
}

#[derive(Serialize, Deserialize)]
struct Document<K> {
    keys: K,
}

/// The JWK Set document that publishes `keys`, as JSON text.
pub fn jwks_document(keys: &[PublicKey]) -> String {
    serde_json::to_string(&Document { keys }).expect("plain strings serialise")
}

/// The keys that tokens are accepted from, by key id.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: HashMap<String, Key>,
}

/// One key, ready to verify with.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) bytes: [u8; 32],
    pub(crate) decoding: DecodingKey,
}

/// Why a JWK Set was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// The document is not a JWK Set.
    #[error("not a JWK Set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The set holds more keys than any issuer of ours publishes.
    #[error("{0} keys, more than {MAX_KEYS}")]
    TooManyKeys(usize),
    /// A key's `x` is not a key.
    #[error("key `{kid}` is not an Ed25519 key")]
    BadKey {
        /// The key's id.
        kid: String,
    },
    /// No key in the set can verify an access token.
    #[error("no Ed25519 signature key in the set")]
    Empty,
}

impl KeySet {
    /// Reads a JWK Set. Keys of other types or uses are passed over; a set without a usable key is an error,
    /// so that a broken source can't silently take all keys away.
    pub fn from_jwks(document: &[u8]) -> Result<Self, KeySetError> {
        let Document { keys } = serde_json::from_slice::<Document<Vec<PublicKey>>>(document)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys(keys.len()));
        }
        let mut usable = HashMap::new();
        for key in keys.into_iter().filter(PublicKey::is_usable) {
            let Some(ready) = Key::read(&key.x) else { return Err(KeySetError::BadKey { kid: key.kid }) };
            usable.insert(key.kid, ready);
        }
        if usable.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(Self { keys: usable })
    }

    /// Whether the set holds a key of this id.
    pub fn contains(&self, kid: &str) -> bool {
        self.keys.contains_key(kid)
    }

    /// How many keys the set holds.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is known, and so no token can be accepted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }

    /// Whether the set holds this very key: an id alone may have been given to another.
    pub(crate) fn holds(&self, kid: &str, bytes: &[u8; 32]) -> bool {
        self.get(kid).is_some_and(|key| key.bytes == *bytes)
    }
}

impl Key {
    fn read(x: &str) -> Option<Self> {
        let decoding = DecodingKey::from_ed_components(x).ok()?;
        // The verifier slices the first 32 bytes: a shorter key must never reach it.
        let bytes = decoding.try_get_as_bytes().ok()?.try_into().ok()?;
        Some(Self { bytes, decoding })
    }
}
