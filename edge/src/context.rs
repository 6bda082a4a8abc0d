//! What a request carries from its first phase to its log line.

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use crate::admission::Known;
use crate::compression::Encoder;
use crate::connection::{self, Served};
use crate::guards::Findings;
use crate::site::Site;
use crate::upstream::Exchange;

/// The state of one request.
pub struct Context {
    /// The policy that it meets, to its end.
    pub site: Arc<Site>,
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
    /// When it had been read to its end.
    pub request_ended: Option<Instant>,
    /// The servers that it was given to.
    pub exchange: Exchange,
    /// What compresses its answer, while that is being done.
    pub encoder: Option<Encoder>,
    /// The guard that refused it.
    pub refused_by: Option<&'static str>,
    /// Whether it goes on elsewhere, and is logged there.
    pub is_handed_on: bool,
}

impl Context {
    /// A fresh request of this site: the one that the running task serves.
    pub fn new(site: Arc<Site>) -> Self {
        Self {
            site,
            started: Instant::now(),
            served: connection::current(),
            request_id: Uuid::now_v7().to_string(),
            known: Known::default(),
            route: None,
            max_body_bytes: u64::MAX,
            is_preflight: false,
            findings: Findings::default(),
            request_ended: None,
            exchange: Exchange::default(),
            encoder: None,
            refused_by: None,
            is_handed_on: false,
        }
    }

    /// The state, for whoever goes on with it; what stays says that it is gone.
    pub fn hand_on(&mut self) -> Self {
        let left = Self { is_handed_on: true, ..Self::new(Arc::clone(&self.site)) };
        std::mem::replace(self, left)
    }

    /// The request has been read to its end.
    pub fn end_request(&mut self) {
        self.served.body.end();
        self.served.connection.set_request_read(true);
        self.request_ended = Some(Instant::now());
    }
}
