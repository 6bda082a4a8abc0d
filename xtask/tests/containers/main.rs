//! The product in its containers, used as its users use it. `cargo xtask test containers` brings it up and tells where
//! it is; the tests share it and run one after the other.
//!
//! What is the same without containers is tested by the same code.

#[path = "../it/booking.rs"]
mod booking;
#[path = "../it/client.rs"]
mod client;
mod docker;
mod exposure;
mod fallback;
#[path = "../it/guards.rs"]
mod guards;
mod limits;
mod persistence;
mod stack;
#[path = "../it/walk.rs"]
mod walk;
