//! Reservations: places taken at a vendor's service, and what is left of them.

pub mod http;
pub mod idempotency;
pub mod lock;
pub mod model;
pub mod occupancy;
pub mod purge_idempotency;
pub mod service;
pub mod slots;
pub mod store;
