//! The header of a token, as far as it decides anything. What else it may say is not looked at: a key that a token
//! brings or points to (`jwk`, `jku`, `x5c`, `x5u`) is the sender's word.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The one algorithm of our keys (RFC 8037, section 3.1). The key fixes it, not the token.
const ALGORITHM: &str = "EdDSA";

/// An Ed25519 signature has 64 bytes: so many characters of base64url.
const SIGNATURE_CHARACTERS: usize = 86;

/// Ours are UUIDs.
const MAX_KID_BYTES: usize = 64;

#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) typ: String,
    pub(crate) kid: String,
    crit: Option<IgnoredAny>,
}

impl Header {
    /// The header of a token that has the form of ours: three parts, a signature's length, JSON with the fields that
    /// decide, each once, and nothing that must be understood but isn't (RFC 7515, section 4.1.11).
    pub(crate) fn read(token: &str) -> Option<Self> {
        let (header, rest) = token.split_once('.')?;
        let (_, signature) = rest.split_once('.')?;
        if signature.len() != SIGNATURE_CHARACTERS {
            return None;
        }
        let header: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        header.crit.is_none().then_some(header)
    }

    pub(crate) fn is_of_our_algorithm(&self) -> bool {
        self.alg == ALGORITHM
    }

    /// Whether the key's id could be one of ours: an invented one must at least take this trouble before anybody asks
    /// the key source about it.
    pub(crate) fn names_a_likely_key(&self) -> bool {
        let is_likely = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        self.kid.len() <= MAX_KID_BYTES && self.kid.bytes().all(is_likely)
    }
}
