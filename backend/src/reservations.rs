//! Reservations: places taken at a vendor's service, what becomes of them, and what is left.

pub(crate) mod announce;
pub(crate) mod calendar;
pub mod http;
pub mod idempotency;
pub mod lifecycle;
pub mod lock;
pub mod model;
pub mod occupancy;
pub mod purge_idempotency;
pub mod purge_waitlist;
pub mod service;
pub mod slots;
pub mod store;
pub mod timers;
pub(crate) mod waitlist;
