//! Sign-in, sessions, and who is let in.

mod access;
mod gateway;
mod sessions;
mod sign_in;
