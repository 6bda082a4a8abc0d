//! What a request carries from its first phase to its log line.

use std::net::SocketAddr;
use std::time::Instant;

use uuid::Uuid;

use crate::admission::Known;
use crate::compression::Encoder;
use crate::connection::{self, Served};
use crate::guards::Findings;

/// The state of one request.
#[derive(Debug)]
pub struct Context {
    /// When its header had been read.
    pub started: Instant,
    /// Its connection, and how its body comes along.
    pub served: Served,
    /// Ours, never the client's.
    pub request_id: String,
    /// The client's address and the canonical path, once they are known.
    pub known: Known,
    /// The decisive route's index, once there is one.
    pub route: Option<usize>,
    /// The longest body that it may bring.
    pub max_body_bytes: u64,
    /// Whether a guard has answered it as a preflight.
    pub is_preflight: bool,
    /// What the guards found.
    pub findings: Findings,
    /// What compresses its answer, while that is being done.
    pub encoder: Option<Encoder>,
    /// Upstream servers that were tried, in order.
    pub tried: Vec<SocketAddr>,
    /// The guard that refused it.
    pub refused_by: Option<&'static str>,
}

impl Context {
    /// A fresh request: the one that the running task serves.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            served: connection::current(),
            request_id: Uuid::now_v7().to_string(),
            known: Known::default(),
            route: None,
            max_body_bytes: u64::MAX,
            is_preflight: false,
            findings: Findings::default(),
            encoder: None,
            tried: Vec::new(),
            refused_by: None,
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}
