//! Access tokens as a backend signs them, and as nobody should.

use std::time::{SystemTime, UNIX_EPOCH};

use access_token::{Claims, PublicKey, Role, TOKEN_TYPE, jwks_document};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::{Signer as _, SigningKey};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rand_core::OsRng;

/// Signs access tokens as a backend would.
pub(crate) struct Signer {
    kid: String,
    /// The public half, base64url.
    pub(crate) public: String,
    key: EncodingKey,
    signing: SigningKey,
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Self {
        let key = SigningKey::generate(&mut OsRng);
        let pkcs8 = key.to_pkcs8_der().expect("a key encodes");
        Self {
            kid: kid.to_owned(),
            public: URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()),
            key: EncodingKey::from_ed_der(pkcs8.as_bytes()),
            signing: key,
        }
    }

    pub(crate) fn jwks(&self) -> String {
        Self::jwks_of(&[self])
    }

    /// The key set of several.
    pub(crate) fn jwks_of(signers: &[&Self]) -> String {
        let keys: Vec<_> =
            signers.iter().map(|signer| PublicKey::ed25519(&signer.kid, &signer.public)).collect();
        jwks_document(&keys)
    }

    /// The header of a good token; `more` comes behind its fields.
    pub(crate) fn header(&self, more: &str) -> String {
        format!(r#"{{"alg":"EdDSA","typ":"{TOKEN_TYPE}","kid":"{}"{more}}}"#, self.kid)
    }

    /// The payload of a good token, JSON text.
    pub(crate) fn payload(&self) -> String {
        let token = self.token(Role::User);
        let payload = token.split('.').nth(1).expect("three parts");
        String::from_utf8(URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
    }

    /// Signs whatever header and payload it is given.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let message = Self::unsigned(header, payload);
        let signature = self.signing.sign(message.as_bytes()).to_bytes();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token's first two parts.
    pub(crate) fn unsigned(header: &str, payload: &str) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    /// A good token.
    pub(crate) fn token(&self, role: Role) -> String {
        self.token_with(role, |_, _| {})
    }

    /// A token that was changed before it was signed.
    pub(crate) fn token_with(&self, role: Role, change: impl FnOnce(&mut Header, &mut Claims)) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(self.kid.clone());
        let mut claims = Claims {
            iss: "daemun".into(),
            aud: "daemun".into(),
            sub: "user".into(),
            sid: "session".into(),
            role,
            iat: now,
            exp: now + 900,
            nbf: None,
            jti: "token".into(),
        };
        change(&mut header, &mut claims);
        encode(&header, &claims, &self.key).expect("a token")
    }
}
