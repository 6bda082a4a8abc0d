//! Who is calling: sign-in with a provider's token, sessions, tokens of our own.

pub mod current_user;
pub mod keys;
pub mod tokens;
