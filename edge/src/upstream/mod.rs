//! The servers behind the gate: which are fit for requests, which takes the next one, what is tried again.
//!
//! ```text
//! Exchange (one request) ─ choose ─► Pool ─► Server ◄─ Checker (health, silence, trials)
//!    │ answered, failed               │        ├ Conduct: how its answers were
//!    └ Patience: waits for an answer  │        ├ Ejection: in, out, on trial
//!                                     │        └ Kept: connections that wait
//!                                     └ RetryBudget
//! ```
//!
//! Nothing here knows a request of Pingora's: `gateway/exchange.rs` says what happened in these terms. A server's state
//! outlives a change of the policy ([`Pool::all`]).

mod checker;
mod conduct;
mod connect;
mod ejection;
mod exchange;
mod failure;
mod kept;
mod patience;
mod pool;
mod probe;
mod retry_budget;
mod server;
#[cfg(test)]
mod tests;

pub use checker::Checker;
pub use exchange::{Asking, Delivery, Exchange, Tried};
pub use failure::Failure;
pub use patience::{Patience, WaitedFor};
pub use pool::{CurrentPools, DrainError, Pool};
pub use probe::{Probe, ProbeError};
pub use server::ServerState;
