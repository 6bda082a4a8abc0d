//! Work that nobody waits for: jobs that run by a schedule, each period once, and timers that go off once. Any
//! backend does it, and goes on where another stopped.
//!
//! - The database decides. A period is a row, and its key lets only one in. Whoever claims the row holds a lease and
//!   the row's new *epoch*; each chunk's transaction checks that epoch first, so that a backend which was paused,
//!   and taken over from, writes nothing when it wakes.
//! - A chunk's writes and the cursor behind it are committed together: after a crash the next backend repeats what
//!   was not committed, and nothing else.
//! - A backend's clock decides when a lease has ended. Clocks that differ cost an early takeover, never a second
//!   write.
//!
//! `service → runner → {work, repository, schedule} → model`. A job is one file in its feature's room, with the
//! trait [`Job`](job::Job), and one line where `app.rs` registers it.

pub mod command;
pub mod history;
pub mod job;
pub mod model;
mod report;
mod repository;
mod runner;
mod schedule;
pub mod service;
pub mod timers;
pub mod trim_runs;
mod work;

pub use work::Work;
