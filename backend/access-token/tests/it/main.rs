//! Tokens as an issuer makes them, and as nobody should, against the check and what is remembered of it.

mod forged;
mod issuer;
mod verified_tokens;
