//! Sign-in, sessions, and who is let in.

mod access;
mod browser;
mod gateway;
mod revocation;
mod sessions;
mod sign_in;
