//! The development identity provider: plays the OIDC issuers that users sign in with, on loopback only.
//!
//! It vouches for whoever asks, without a password: it makes a full sign-in possible on a developer's machine and
//! in tests, and must never be reachable from anywhere else. Each issuer is mounted under its own path and signs
//! with a key that outlives a restart.
//!
//! `lib.rs → issuer → {id_token, signing_key}`

mod id_token;
mod issuer;
mod signing_key;

use std::path::Path;

use anyhow::Context;
use axum::Router;
use axum::response::Html;
use axum::routing::get;

use crate::issuer::Issuer;
use crate::signing_key::SigningKey;

/// The one client id that id_tokens are made for.
pub const CLIENT_ID: &str = "daemun-development";

/// The development issuers and the keys that they sign with.
pub struct IdentityProvider {
    google: Issuer,
}

impl IdentityProvider {
    /// Opens the keys in `keys_dir`, making those that are missing. `base_url` is where the router will be
    /// reached, such as `http://127.0.0.1:9000`; every issuer's name begins with it.
    pub fn open(keys_dir: &Path, base_url: &str) -> anyhow::Result<Self> {
        let base_url = base_url.trim_end_matches('/');
        let key = SigningKey::open(&keys_dir.join("google.pem")).context("cannot open Google's key")?;
        Ok(Self { google: Issuer::new(format!("{base_url}/google"), key) })
    }

    /// All that the provider serves.
    pub fn router(self) -> Router {
        Router::new().route("/", get(front_page)).nest("/google", self.google.router())
    }
}

async fn front_page() -> Html<&'static str> {
    Html(include_str!("front_page.html"))
}
