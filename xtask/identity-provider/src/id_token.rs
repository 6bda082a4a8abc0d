//! What an id_token says (OpenID Connect Core 1.0, section 2), and what may be asked for.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::CLIENT_ID;

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
}

/// The claims of an id_token. Times are seconds since the Unix epoch.
#[derive(Debug, Serialize)]
pub(crate) struct IdTokenClaims {
    iss: String,
    aud: &'static str,
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
        Ok(Self {
            iss: issuer.to_owned(),
            aud: CLIENT_ID,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sub: &str) -> MintRequest {
        MintRequest { sub: sub.into(), name: "Ada".into(), email: None, nonce: None }
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
