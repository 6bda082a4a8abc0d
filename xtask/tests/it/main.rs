//! End to end: the real processes, started by `cargo xtask up`, used as their users use them.
//!
//! `DAEMUN_BIN_DIR` names a folder with built programs; without it `up` builds them itself.

mod booking;
mod client;
mod exposure;
mod guards;
mod nginx;
mod postgres;
mod restart;
mod stack;
mod up;
mod walk;
