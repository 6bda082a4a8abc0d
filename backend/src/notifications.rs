//! What users are to know: each user's newest, for 30 days, and up to where they have read.
//!
//! `http → service → store → model`; `trim_notifications` is the job that forgets what is old. Who has something to
//! say calls [`Notifications::notify`](service::Notifications::notify).

pub mod http;
pub mod model;
pub mod outbox;
pub mod service;
mod store;
pub mod trim_notifications;
