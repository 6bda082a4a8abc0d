//! The load: GETs at a fixed rate by three kinds of clients, and WebSockets that stay.
//!
//! `mod → {gets, sockets} → client → record`

mod client;
mod gets;
mod record;
mod sockets;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

pub(super) use client::Door;
#[cfg(test)]
pub(super) use record::Failure;
pub(super) use record::{How, Record, Sample, SocketEnd};
pub(super) use sockets::{SOCKET, small_buffers};

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    /// GETs a second.
    pub(super) rate: f64,
    /// After it a GET has failed.
    pub(super) patience: Duration,
    pub(super) sockets: usize,
    /// After it a WebSocket's client leaves and comes back.
    pub(super) socket_life: Option<Duration>,
}

/// Goes on until it is dropped.
pub(super) struct Load {
    pub(super) record: Record,
    _tasks: JoinSet<()>,
}

impl Load {
    pub(super) fn start(door: &Arc<Door>, amount: Amount) -> Self {
        let record = Record::default();
        let mut tasks = JoinSet::new();
        sockets::start(door, amount.sockets, amount.socket_life, &record, &mut tasks);
        gets::start(door, amount.rate, amount.patience, &record, &mut tasks);
        Self { record, _tasks: tasks }
    }

    /// Without GETs.
    pub(super) fn of_sockets(door: &Arc<Door>, number: usize) -> Self {
        let record = Record::default();
        let mut tasks = JoinSet::new();
        sockets::start(door, number, None, &record, &mut tasks);
        Self { record, _tasks: tasks }
    }
}
