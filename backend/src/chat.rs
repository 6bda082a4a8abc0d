//! Chat between a user and a vendor: rooms, numbered messages, sockets.
//!
//! `http → socket → service → {store, ticket, broker → hub → outbox} → model`. The hub knows the sockets of this
//! process, the broker links the processes. A message is stored first and told after: whoever misses the telling
//! gets it from the database, by its number.

mod broker;
pub mod http;
mod hub;
pub mod model;
mod outbox;
pub mod service;
mod socket;
mod store;
mod ticket;
