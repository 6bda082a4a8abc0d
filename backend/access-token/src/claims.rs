//! What an access token says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The claims of an access token (RFC 9068, section 2.2). Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued the token.
    pub iss: String,
    /// Whom the token is for.
    pub aud: String,
    /// The user's id, UUIDv7 text.
    pub sub: String,
    /// The session that the token belongs to, UUIDv7 text; revocations name it.
    pub sid: String,
    /// What the user may do.
    pub role: Role,
    /// When the token was issued.
    pub iat: u64,
    /// When the token ends.
    pub exp: u64,
    /// When it begins, where that isn't at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The token's own id, UUIDv7 text: it says the millisecond of the issue.
    pub jti: String,
}

impl Claims {
    /// When the token was issued, in milliseconds since the Unix epoch: as its id says (RFC 9562, section 5.7), if that is
    /// within the second that `iat` names; else that second's beginning.
    pub fn issued_ms(&self) -> u64 {
        let second_ms = self.iat.saturating_mul(1000);
        match version_7_ms(&self.jti) {
            Some(ms) if ms / 1000 == self.iat => ms,
            _ => second_ms,
        }
    }
}

/// `0192d4c4-a9b0-7…`: the first 48 bits are the time.
fn version_7_ms(id: &str) -> Option<u64> {
    let (high, rest) = id.split_once('-')?;
    let (low, rest) = rest.split_once('-')?;
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if high.len() != 8 || low.len() != 4 || !is_hex(high) || !is_hex(low) || !rest.starts_with('7') {
        return None;
    }
    Some(u64::from_str_radix(high, 16).ok()? << 16 | u64::from_str_radix(low, 16).ok()?)
}

/// What a user may do. Ordered: an admin may do what a vendor may, a vendor what a user may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Books and chats.
    User,
    /// Runs a vendor's page.
    Vendor,
    /// Runs the place.
    Admin,
}

impl Role {
    /// The role's name, as it stands in tokens, in the database and in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Vendor => "vendor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "user" => Ok(Self::User),
            "vendor" => Ok(Self::Vendor),
            "admin" => Ok(Self::Admin),
            other => Err(UnknownRole(other.to_owned())),
        }
    }
}

/// A role's name that is none of `user`, `vendor` and `admin`.
#[derive(Debug, thiserror::Error)]
#[error("unknown role `{0}`: expected user, vendor or admin")]
pub struct UnknownRole(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_millisecond_of_the_issue_is_taken_from_an_id_that_fits() {
        let claims = |iat, jti: &str| Claims {
            iss: String::new(),
            aud: String::new(),
            sub: String::new(),
            sid: String::new(),
            role: Role::User,
            iat,
            exp: 0,
            nbf: None,
            jti: jti.into(),
        };
        // 0x018bcfe568f3 is 1,700,000,000,243.
        let id = "018bcfe5-68f3-7000-8000-000000000000";
        assert_eq!(claims(1_700_000_000, id).issued_ms(), 1_700_000_000_243);
        assert_eq!(claims(1_700_000_001, id).issued_ms(), 1_700_000_001_000, "another second's");
        for other in ["", "t", "018bcfe5-68f3-4000-8000-000000000000", "+18bcfe5-68f3-7", "é18bcfe-68f3-7"] {
            assert_eq!(claims(1_700_000_000, other).issued_ms(), 1_700_000_000_000, "{other}");
        }
    }
}
