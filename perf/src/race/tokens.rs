//! The tokens of a race: good ones, and those that must be refused.

use access_token::{PublicKey, jwks_document};
use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::Serialize;

use crate::token::{self, LIFETIME_SECONDS};

/// The id of the one key of each kind.
const KEY: &str = "race";
/// What stands before an uncompressed P-256 point in a SubjectPublicKeyInfo (RFC 5480).
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Algorithm {
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// For a contestant that can't verify the other.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

/// What is right or wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quality {
    Good,
    /// Signed with another key of the same id.
    Forged,
    /// Signed with the right one, and over for an hour: longer than anybody's leeway.
    Ended,
}

/// Who signs them.
pub(super) struct Tokens {
    ours: Keys,
    strangers: Keys,
}

struct Keys {
    ed25519: SigningKey,
    p256: EcdsaKeyPair,
}

impl Tokens {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { ours: Keys::generate()?, strangers: Keys::generate()? })
    }

    /// Issues one now.
    pub(super) fn issue(&self, algorithm: Algorithm, quality: Quality) -> anyhow::Result<String> {
        let (keys, age) = match quality {
            Quality::Good => (&self.ours, 0),
            Quality::Forged => (&self.strangers, 0),
            Quality::Ended => (&self.ours, LIFETIME_SECONDS + 3_600),
        };
        let claims = token::claims(1, token::now()? - age);
        token::issue(algorithm.name(), KEY, &claims, |message| keys.sign(algorithm, message))
    }

    /// The JWK Set of the Ed25519 key.
    pub(super) fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.ours.ed25519.verifying_key().as_bytes());
        jwks_document(&[PublicKey::ed25519(KEY, x)])
    }

    pub(super) fn es256_public_pem(&self) -> String {
        let der = [&P256_HEAD[..], self.ours.p256.public_key().as_ref()].concat();
        let text = STANDARD.encode(der);
        let (first, rest) = text.split_at(64);
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{rest}\n-----END PUBLIC KEY-----\n")
    }
}

impl Keys {
    fn generate() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let mut seed = [0; 32];
        random.fill(&mut seed).map_err(|_| anyhow!("no random numbers"))?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document =
            EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| anyhow!("no random numbers"))?;
        let p256 = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
            .map_err(|error| anyhow!("a new key: {error}"))?;
        Ok(Self { ed25519: SigningKey::from_bytes(&seed), p256 })
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        match algorithm {
            Algorithm::EdDsa => Ok(self.ed25519.sign(message).to_bytes().to_vec()),
            Algorithm::Es256 => {
                let signature = self.p256.sign(&SystemRandom::new(), message);
                Ok(signature.map_err(|_| anyhow!("no signature"))?.as_ref().to_vec())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use access_token::{KeySet, Verifier};

    use super::*;

    #[test]
    fn only_the_good_token_is_verified() {
        let tokens = Tokens::new().expect("keys");
        let keys = KeySet::from_jwks(tokens.jwks().as_bytes()).expect("a set");
        let verifier = Verifier::new(token::ISSUER, token::ISSUER);
        let is_good = |quality| {
            let token = tokens.issue(Algorithm::EdDsa, quality).expect("a token");
            verifier.verify(&keys, &token).is_ok()
        };
        assert!(is_good(Quality::Good));
        assert!(!is_good(Quality::Forged));
        assert!(!is_good(Quality::Ended));
    }

    #[test]
    fn a_public_key_is_a_pem_of_91_bytes() {
        let pem = Tokens::new().expect("keys").es256_public_pem();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(STANDARD.decode(body).expect("base64").len(), 91);
    }
}
