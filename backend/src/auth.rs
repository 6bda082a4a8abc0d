//! Who is calling: sign-in with a provider's token, sessions, tokens of our own.
//!
//! `http → service → {store, sessions, providers, tokens}`; other features know `current_user` alone.

pub mod current_user;
pub mod gateway;
pub mod http;
pub mod keys;
mod provider_keys;
mod providers;
pub mod purge_sessions;
mod refresh_token;
pub mod revocation_feed;
pub mod service;
mod sessions;
mod store;
pub mod tokens;
