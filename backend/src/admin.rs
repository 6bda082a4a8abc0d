//! What admins see and do. It reads from the features' services; the gateway lets only allowlisted addresses here.

pub mod http;
pub mod users;
