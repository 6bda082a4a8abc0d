//! The service behind the gateway: sign-in, vendors, reservations, chat. Two of it run side by side, and any
//! request may go to either.
//!
//! Rooms, and who may know whom (`tests/it/tidy.rs` holds them to it):
//!
//! ```text
//! main ─ app ─┬─ server                     accepts connections, stops them in order
//!             ├─ health, prometheus         liveness, readiness, metrics
//!             ├─ auth                       sign-in, sessions, tokens, the current user
//!             ├─ vendors                    who can be booked, and when
//!             ├─ reservations               bookings
//!             ├─ chat                       rooms, messages, sockets
//!             ├─ notifications              what users are to know
//!             ├─ statistics                 what happened on each day
//!             ├─ admin                      what admins see and do
//!             └─ demo_data                  something to look at on a fresh machine
//!                    │
//!                    └─ jobs, problem, extract, pagination, request_id, database, redis, config, clock
//! ```
//!
//! A feature reads `http → service → {store, …} → model`. Between features there are few arrows: anyone may ask
//! `auth::current_user` who is calling; `admin` reads from the others' services; `reservations` asks `vendors` what can
//! be booked, and when, and tells its users by `notifications`; `auth` tells users of thefts by `notifications`, which know `current_user` alone of it;
//! `demo_data` writes opening hours in the form of `vendors`.

pub mod admin;
pub mod app;
pub mod auth;
pub mod chat;
pub mod clock;
pub mod config;
pub mod database;
pub mod demo_data;
pub mod extract;
pub mod health;
pub mod jobs;
pub mod notifications;
pub mod pagination;
pub mod problem;
pub mod prometheus;
pub mod redis;
pub mod request_id;
pub mod reservations;
pub mod server;
pub mod statistics;
pub mod telemetry;
pub mod vendors;
