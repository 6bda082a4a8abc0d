//! Makes access tokens and checks them.

use std::sync::Arc;
use std::time::Duration;

use access_token::{Claims, Role, TOKEN_TYPE, TokenError, VerifiedTokens, Verifier};
use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, Header};
use uuid::{NoContext, Timestamp, Uuid};

use crate::auth::keys::SigningKeys;
use crate::auth::revocations::RevocationList;
use crate::clock::EpochMillis;
use crate::config;

/// Tokens that are remembered as verified: a good KiB each (config/budget.toml).
const REMEMBERED: usize = 2048;

/// Makes access tokens, and checks them: a backend trusts no identity header, it verifies each token itself.
/// Cloning it is cheap.
#[derive(Clone)]
pub struct AccessTokens(Arc<Inner>);

struct Inner {
    keys: ArcSwap<SigningKeys>,
    verified: VerifiedTokens,
    revoked: RevocationList,
    issuer: String,
    audience: String,
    life: Duration,
}

impl AccessTokens {
    /// Tokens signed with `keys`.
    pub fn new(config: &config::Tokens, keys: SigningKeys) -> Self {
        Self(Arc::new(Inner {
            keys: ArcSwap::from_pointee(keys),
            verified: VerifiedTokens::new(Verifier::new(&config.issuer, &config.audience), REMEMBERED),
            revoked: RevocationList::default(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            life: config.access,
        }))
    }

    /// How long a token lives.
    pub fn life(&self) -> Duration {
        self.0.life
    }

    /// The JWK Set document of the public keys.
    pub fn jwks(&self) -> String {
        self.0.keys.load().jwks.clone()
    }

    /// What was revoked.
    pub fn revoked(&self) -> &RevocationList {
        &self.0.revoked
    }

    /// Puts other keys in the place of those in force.
    pub(super) fn replace_keys(&self, keys: SigningKeys) {
        let before = self.0.keys.swap(Arc::new(keys));
        let now = self.0.keys.load();
        if before.jwks != now.jwks || before.kid != now.kid {
            tracing::info!(signing = now.kid, published = now.public.len(), "the signing keys have changed");
        }
    }

    /// A token of this user in this session. `known_at` is when it was not yet looked up what the token says: whatever is
    /// revoked from then on, the token too is meant.
    pub fn issue(
        &self,
        user_id: &str,
        session_id: &str,
        role: Role,
        known_at: EpochMillis,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let iat = known_at.as_secs();
        let claims = Claims {
            iss: self.0.issuer.clone(),
            aud: self.0.audience.clone(),
            sub: user_id.to_owned(),
            sid: session_id.to_owned(),
            role,
            iat,
            exp: iat + self.0.life.as_secs(),
            nbf: None,
            jti: id_of(known_at).to_string(),
        };
        let keys = self.0.keys.load();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(keys.kid.clone());
        jsonwebtoken::encode(&header, &claims, &keys.encoding)
    }

    /// The token's claims, if it is one of ours and holds now.
    pub fn verify(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        self.0.verified.verify(&self.0.keys.load().public, self.0.revoked.revocations(), token)
    }
}

/// A new id that says this time.
fn id_of(time: EpochMillis) -> Uuid {
    let ms = u64::try_from(time.0).unwrap_or(0);
    let nanos = u32::try_from(ms % 1000).expect("below a thousand") * 1_000_000;
    Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, nanos))
}
