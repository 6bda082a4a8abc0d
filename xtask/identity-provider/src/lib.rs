//! The development identity provider: plays the OIDC issuers that users sign in with, on loopback only.
//!
//! It vouches for whoever asks, without a password: it makes a full sign-in possible on a developer's machine and
//! in tests, and must never be reachable from anywhere else. Each issuer is mounted under its own path and signs
//! with a key that outlives a restart. What goes wrong with real providers can be switched on (`PUT /google/faults`), keys can
//! be rotated (`POST /google/keys/rotate`), and events be sent (`POST /google/events`).
//!
//! `lib.rs → issuer → {authorize, token, events} → {persona, grants, fault, id_token, key_ring → signing_key}`

mod authorize;
mod events;
mod fault;
mod grants;
mod id_token;
mod issuer;
mod key_ring;
mod persona;
mod signing_key;
mod token;

use std::path::Path;

use anyhow::Context;
use axum::Router;
use axum::response::Html;
use axum::routing::get;

use crate::issuer::Issuer;
use crate::key_ring::KeyRing;
use crate::persona::Persona;
use crate::signing_key::SigningKey;

/// The client that users sign in to.
pub const CLIENT_ID: &str = "daemun-development";

/// What it proves itself with; known to everybody, as all here.
pub const CLIENT_SECRET: &str = "daemun-development-secret";

/// What Kakao's webhook proves itself with.
pub const KAKAO_ADMIN_KEY: &str = "daemun-development-admin-key";

/// The development issuers and the keys that they sign with.
pub struct IdentityProvider {
    issuers: Vec<Issuer>,
}

impl IdentityProvider {
    /// Opens the keys in `keys_dir`, making those that are missing. `base_url` is where the router will be
    /// reached, such as `http://127.0.0.1:9000`; every issuer's name begins with it.
    pub fn open(keys_dir: &Path, base_url: &str) -> anyhow::Result<Self> {
        let base_url = base_url.trim_end_matches('/');
        let issuer = |persona: Persona| {
            let id = persona.id();
            let keys =
                KeyRing::open(keys_dir, id).with_context(|| format!("cannot open the keys of {id}"))?;
            let unknown = SigningKey::open(&keys_dir.join("unknown.pem"))?;
            anyhow::Ok(Issuer::new(format!("{base_url}/{id}"), persona, keys, unknown))
        };
        Ok(Self { issuers: vec![issuer(Persona::Google)?, issuer(Persona::Kakao)?] })
    }

    /// All that the provider serves.
    pub fn router(self) -> Router {
        let front = Router::new().route("/", get(front_page));
        self.issuers.into_iter().fold(front, |router, issuer| {
            let path = format!("/{}", issuer.persona.id());
            router.nest(&path, issuer.router())
        })
    }
}

async fn front_page() -> Html<&'static str> {
    Html(include_str!("front_page.html"))
}
