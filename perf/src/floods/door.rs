//! The edge's front door, with what clients need to come in by it.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::connection;
use crate::target::Target;

/// Shared by all clients. Nobody resumes a session: that every connection costs the edge a full handshake is the
/// worst case.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) target: Target,
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
}

impl Door {
    /// The door of an edge whose certificate `ca` vouches for.
    pub(crate) fn new(target: Target, ca: &Path) -> anyhow::Result<Self> {
        let client = |protocol| connection::client(ca, protocol, Resumption::disabled()).map(Arc::new);
        Ok(Self { target, http1: client("http/1.1")?, http2: client("h2")? })
    }
}
