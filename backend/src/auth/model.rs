//! What clients are told: tokens, devices, users about themselves.

use access_token::Role;
use serde::Serialize;

use crate::clock::EpochMillis;

/// What a signed-in client holds, as RFC 6749, section 5.1, writes it.
#[derive(Debug, Serialize)]
pub struct TokenPair {
    pub(super) access_token: String,
    pub(super) token_type: &'static str,
    pub(super) expires_in: u64,
    pub(super) refresh_token: String,
}

/// The same for a browser, which gets the refresh token as a cookie.
#[derive(Debug, Serialize)]
pub struct AccessToken {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
}

impl TokenPair {
    /// Both, apart: what goes into the body, and the refresh token.
    pub fn split(self) -> (AccessToken, String) {
        let Self { access_token, token_type, expires_in, refresh_token } = self;
        (AccessToken { access_token, token_type, expires_in }, refresh_token)
    }
}

impl Me {
    /// The user's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A session, as its user sees it.
#[derive(Debug, Serialize)]
pub struct Device {
    pub(super) id: String,
    /// What the client calls itself.
    pub(super) client: String,
    pub(super) created_at: EpochMillis,
    pub(super) last_used_at: EpochMillis,
    /// Whether it is the one that asks.
    pub(super) is_current: bool,
}

/// Users about themselves.
#[derive(Debug, Serialize)]
pub struct Me {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) picture: Option<String>,
    pub(super) role: Role,
}
