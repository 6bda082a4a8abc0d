//! Who is calling: sign-in with a provider's token, sessions, tokens of our own.
//!
//! `http → service → {store, sessions, providers, tokens} → model`; other features know `current_user` alone. `audit` counts
//! what happens, and tells a user of a theft by `notifications`. `knowledge` keeps what
//! `tokens` and `providers` ask, keys and revocations, up to date.

mod audit;
mod browser;
mod cookies;
pub mod current_user;
pub mod gateway;
pub mod http;
pub mod keys;
pub mod knowledge;
pub mod model;
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
