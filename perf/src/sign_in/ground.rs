//! Whom is asked: two backends, the edge, and the identity provider.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::api::{Connection, Service};
use crate::connection::{Appetite, client, connect_tls};
use crate::stack::Stack;
use crate::target::{Target, source};
use crate::user::{User, sign_in};

/// Sources: 127.17.0.0/16. The shipped limits count by address.
const NET: u8 = 17;

/// A running stack.
pub(super) struct Ground {
    pub(super) backends: [Service; 2],
    pub(super) provider: Service,
    pub(super) backend_pids: [u32; 2],
    pub(super) redis_pid: u32,
    edge: Target,
    tls: Arc<ClientConfig>,
}

impl Ground {
    pub(super) fn of(stack: &Stack) -> anyhow::Result<Self> {
        let [first, second, ..] = stack.backends.as_slice() else { anyhow::bail!("two backends are needed") };
        Ok(Self {
            backends: [Service::parse(&first.api)?, Service::parse(&second.api)?],
            provider: Service::parse(&stack.identity_provider)?,
            backend_pids: [first.pid, second.pid],
            redis_pid: stack.redis_pid()?,
            edge: stack.edge()?,
            tls: Arc::new(client(&stack.ca, "http/1.1", Resumption::in_memory_sessions(16))?),
        })
    }

    /// Signs somebody in at the first backend.
    pub(super) async fn sign_in(&self, sub: &str) -> anyhow::Result<User> {
        let (mut api, mut provider) = (self.backends[0].connect().await?, self.provider.connect().await?);
        sign_in(&mut api, &mut provider, sub).await
    }

    /// A connection through the edge, of client number `index`.
    pub(super) async fn edge(&self, index: usize) -> anyhow::Result<Connection> {
        let stream = connect_tls(source(NET, index), &self.edge, &self.tls, Appetite::Normal).await;
        Connection::over(stream.context("the edge")?, self.edge.authority()).await
    }
}
