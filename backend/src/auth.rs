//! Who is calling: sign-in with a provider's token, sessions, tokens of our own.
//!
//! `http → service → {store, sessions, providers, tokens}`; other features know `current_user` alone. `knowledge` keeps what
//! `tokens` and `providers` ask, keys and revocations, up to date.

mod browser;
mod cookies;
pub mod current_user;
pub mod gateway;
pub mod http;
pub mod keys;
pub mod knowledge;
mod oauth;
mod provider_events;
mod provider_keys;
mod providers;
pub mod purge_sessions;
mod refresh_token;
pub mod revocations;
pub mod service;
mod sessions;
mod store;
pub mod tokens;
