//! Access tokens: the claims they carry, the public keys that prove them, the check itself, what is remembered of checks,
//! what was revoked, and what a request is told that brings none that will do.
//!
//! The edge and both backends use this crate, so that all three accept the same tokens. It holds no
//! signing key, does no I/O and knows no framework. Source: RFC 9068 (JWT profile for access tokens).
//!
//! ```text
//! verified_tokens → verifier → {claims, key_set, header}
//!                 → revocations → revocation, claims
//! question → bearer, claims
//! ```

mod bearer;
mod claims;
mod header;
mod key_set;
mod question;
mod revocation;
mod revocations;
mod verified_tokens;
mod verifier;

pub use bearer::{Bearer, Denial};
pub use claims::{Claims, Role};
pub use key_set::{KeySet, KeySetError, PublicKey, jwks_document};
pub use question::{Credentials, Question, is_own_origin};
pub use revocation::{EPOCH_KEY, REVOCATIONS_CHANNEL, REVOCATIONS_KEY, Revocation, UnreadableRevocation};
pub use revocations::{KEEP, Revocations};
pub use verified_tokens::VerifiedTokens;
pub use verifier::{LEEWAY, MAX_LIFETIME, MAX_TOKEN_BYTES, TOKEN_TYPE, TokenError, Verifier};
