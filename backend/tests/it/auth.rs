//! Sign-in, sessions, and who is let in.

mod access;
mod browser;
mod gateway;
mod outage;
mod revocation;
mod rotation;
mod secrecy;
mod sessions;
mod sign_in;
