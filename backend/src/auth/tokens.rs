//! Makes access tokens and checks them.

use std::sync::Arc;
use std::time::Duration;

use access_token::{Claims, Revocations, Role, TOKEN_TYPE, TokenError, VerifiedTokens, Verifier};
use jsonwebtoken::{Algorithm, Header};
use uuid::Uuid;

use crate::auth::keys::SigningKeys;
use crate::clock::EpochMillis;
use crate::config;

/// Tokens that are remembered as verified: a good KiB each (config/budget.toml).
const REMEMBERED: usize = 2048;

/// Makes access tokens, and checks them: a backend trusts no identity header, it verifies each token itself.
/// Cloning it is cheap.
#[derive(Clone)]
pub struct AccessTokens(Arc<Inner>);

struct Inner {
    keys: SigningKeys,
    verified: VerifiedTokens,
    revocations: Revocations,
    issuer: String,
    audience: String,
    life: Duration,
}

impl AccessTokens {
    /// Tokens signed with `keys`.
    pub fn new(config: &config::Tokens, keys: SigningKeys) -> Self {
        Self(Arc::new(Inner {
            keys,
            verified: VerifiedTokens::new(Verifier::new(&config.issuer, &config.audience), REMEMBERED),
            revocations: Revocations::default(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            life: config.access,
        }))
    }

    /// How long a token lives.
    pub fn life(&self) -> Duration {
        self.0.life
    }

    /// What was revoked lately.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// The JWK Set document of the public keys.
    pub fn jwks(&self) -> &str {
        &self.0.keys.jwks
    }

    /// A token of this user in this session.
    pub fn issue(
        &self,
        user_id: &str,
        session_id: &str,
        role: Role,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let iat = EpochMillis::now().as_secs();
        let claims = Claims {
            iss: self.0.issuer.clone(),
            aud: self.0.audience.clone(),
            sub: user_id.to_owned(),
            sid: session_id.to_owned(),
            role,
            iat,
            exp: iat + self.0.life.as_secs(),
            nbf: None,
            jti: Uuid::now_v7().to_string(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(self.0.keys.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.0.keys.encoding)
    }

    /// The token's claims, if it is one of ours and holds now.
    pub fn verify(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        self.0.verified.verify(&self.0.keys.public, &self.0.revocations, token)
    }
}
