//! Sign-in, sessions, and who is let in.

mod access;
mod sessions;
mod sign_in;
