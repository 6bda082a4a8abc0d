//! What an id_token says (OpenID Connect Core 1.0, section 2), and what may be asked for.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::CLIENT_ID;
use crate::fault::Fault;

/// How long an id_token is valid; Google's own are valid as long.
const LIFETIME: Duration = Duration::from_hours(1);

/// OpenID Connect Core 1.0, section 2: `sub` must not exceed 255 ASCII characters.
const MAX_SUB_CHARS: usize = 255;

/// Whom to vouch for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MintRequest {
    sub: String,
    name: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
    /// For a client of another id: the native app's differs from the site's at both providers.
    #[serde(default)]
    aud: Option<String>,
    /// So many seconds ago.
    #[serde(default)]
    age: u64,
}

impl MintRequest {
    pub(crate) fn new(sub: String, name: String, email: Option<String>, nonce: Option<String>) -> Self {
        Self { sub, name, email, nonce, aud: None, age: 0 }
    }

    pub(crate) fn sub(&self) -> &str {
        &self.sub
    }
}

/// The claims of an id_token. Times are seconds since the Unix epoch.
#[derive(Debug, Serialize)]
pub(crate) struct IdTokenClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    exp: u64,
    jti: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

impl IdTokenClaims {
    /// What `issuer` says at `now` of the asked user, or the reason why it can't.
    pub(crate) fn new(issuer: &str, request: MintRequest, now: SystemTime) -> Result<Self, String> {
        let sub_chars = request.sub.chars().count();
        if !(1..=MAX_SUB_CHARS).contains(&sub_chars) {
            return Err(format!("`sub` has {sub_chars} characters; it needs 1 to {MAX_SUB_CHARS}"));
        }
        let issued_at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let issued_at = issued_at.saturating_sub(Duration::from_secs(request.age));
        Ok(Self {
            iss: issuer.to_owned(),
            aud: request.aud.unwrap_or_else(|| CLIENT_ID.to_owned()),
            sub: request.sub,
            iat: issued_at.as_secs(),
            exp: (issued_at + LIFETIME).as_secs(),
            // Makes two tokens of the same user and second differ: an id_token is accepted once only.
            jti: format!("{:032x}", rand::random::<u128>()),
            name: request.name,
            email_verified: request.email.is_some().then_some(true),
            email: request.email,
            nonce: request.nonce,
        })
    }

    /// Makes it wrong in the way that is asked for.
    pub(crate) fn spoil(&mut self, fault: Fault) {
        match fault {
            Fault::WrongNonce => self.nonce = Some("another".into()),
            Fault::WrongAudience => self.aud = "another".into(),
            Fault::WrongIssuer => self.iss = "https://another.example".into(),
            Fault::Expired => {
                self.iat = self.iat.saturating_sub(2 * LIFETIME.as_secs());
                self.exp = self.iat + LIFETIME.as_secs();
            }
            Fault::None | Fault::Slow | Fault::Error | Fault::UnknownKey => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sub: &str) -> MintRequest {
        MintRequest::new(sub.into(), "Ada".into(), None, None)
    }

    #[test]
    fn a_sub_has_1_to_255_characters() {
        let claims = |sub: &str| IdTokenClaims::new("iss", request(sub), SystemTime::now());
        assert!(claims("a").is_ok());
        assert!(claims(&"가".repeat(255)).is_ok());
        assert!(claims("").is_err());
        assert!(claims(&"a".repeat(256)).is_err());
    }

    #[test]
    fn a_token_lasts_an_hour() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let claims = IdTokenClaims::new("iss", request("ada"), now).expect("the sub is fine");
        assert_eq!((claims.iat, claims.exp), (1_000, 4_600));
    }
}
