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
    /// The token's own id.
    pub jti: String,
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
