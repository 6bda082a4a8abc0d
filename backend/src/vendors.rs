//! Vendors (업체): who can be booked, what they offer, and when they are open.

pub(crate) mod cache;
pub mod hours;
pub mod http;
pub mod model;
pub mod service;
pub(crate) mod store;
