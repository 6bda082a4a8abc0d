//! What happened on each day, for each vendor and on the whole.
//!
//! `daily_statistics → store`; it reads what the features have stored, and they don't know it.

pub mod daily_statistics;
mod store;
