//! Access tokens: the claims they carry, the public keys that prove them, and the check itself.
//!
//! The edge and both backends use this crate, so that all three accept the same tokens. It holds no
//! signing key, does no I/O and knows no framework. Source: RFC 9068 (JWT profile for access tokens).

mod claims;
mod key_set;
mod verifier;

pub use claims::{Claims, Role};
pub use key_set::{KeySet, KeySetError, PublicKey, jwks_document};
pub use verifier::{TOKEN_TYPE, TokenError, Verifier};
