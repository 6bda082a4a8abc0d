//! An issuer with a key for each number.

use access_token::{Claims, KeySet, PublicKey, Role, TOKEN_TYPE, jwks_document};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};

/// When tests take place, in seconds since the Unix epoch.
pub(crate) const NOW: u64 = 1_700_000_000;

/// The key `number`, under the id of the same name, or under another's.
pub(crate) struct Issuer {
    pub(crate) kid: String,
    key: SigningKey,
}

impl Issuer {
    pub(crate) fn new(number: u8) -> Self {
        Self::named(&format!("key-{number}"), number)
    }

    pub(crate) fn named(kid: &str, number: u8) -> Self {
        Self { kid: kid.to_owned(), key: SigningKey::from_bytes(&[number; 32]) }
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::ed25519(&self.kid, URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes()))
    }

    pub(crate) fn header(&self) -> String {
        format!(r#"{{"alg":"EdDSA","typ":"{TOKEN_TYPE}","kid":"{}"}}"#, self.kid)
    }

    /// Signs any header and payload.
    pub(crate) fn sign_text(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key.sign(message.as_bytes()).to_bytes();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        self.sign_text(&self.header(), &serde_json::to_string(claims).expect("claims serialise"))
    }
}

/// Keys that are published together.
pub(crate) fn keys(issuers: &[&Issuer]) -> KeySet {
    let public: Vec<_> = issuers.iter().map(|issuer| issuer.public()).collect();
    KeySet::from_jwks(jwks_document(&public).as_bytes()).expect("a set")
}

/// Good claims of a session and a user.
pub(crate) fn claims(sid: &str, sub: &str) -> Claims {
    Claims {
        iss: "daemun".into(),
        aud: "daemun".into(),
        sub: sub.into(),
        sid: sid.into(),
        role: Role::User,
        iat: NOW,
        exp: NOW + 900,
        nbf: None,
        jti: "token".into(),
    }
}
