//! The service from the outside: real backends, a real Redis, a real database, the development identity provider.

#![expect(unreachable_pub, reason = "a test binary exports nothing")]

mod auth;
mod chat;
mod command;
mod database;
mod demo_data;
mod fixtures;
#[allow(dead_code, reason = "not every test needs all of it")]
mod harness;
mod health;
mod jobs;
mod notifications;
mod problems;
mod reservations;
mod tidy;
mod vendors;
