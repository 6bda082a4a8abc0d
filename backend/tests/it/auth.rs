//! Sign-in, sessions, and who is let in.

mod access;
mod revocation;
mod sessions;
mod sign_in;
