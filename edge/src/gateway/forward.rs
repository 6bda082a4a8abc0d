//! Forwards a request to a server, or to another one where the first fails. Which one, and whether it may be tried again,
//! the upstream's room says; what passes between the two ends is in relay.rs.

use std::io::ErrorKind;

use bytes::BytesMut;
use http::StatusCode;
use pingora::{Error, ErrorType, Result};
use tokio::net::TcpStream;

use super::relay::{Outcome, Relay};
use super::request_head::{Framing, request_head};
use super::{Gateway, Session, exchange, pool_of};
use crate::context::Context;

impl Gateway {
    /// Forwards a request that was admitted, and its answer.
    pub(super) async fn forward(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        let (head, framing) = request_head(session, context)?;
        if framing == Framing::NoBody {
            context.end_request();
        } else if session.req_header().method.is_safe() {
            // Another try begins with what was sent already, if it isn't too much.
            session.enable_retry_buffering();
        }
        loop {
            match self.try_one(session, context, &head, framing).await {
                Err(error) if error.retry() => {
                    let (tries, request_id) = (context.exchange.tried.len(), &context.request_id);
                    tracing::warn!(%error, tries, request_id, "a server failed: another is asked");
                }
                ended => return ended,
            }
        }
    }

    async fn try_one(
        &self,
        session: &mut Session,
        context: &mut Context,
        head: &BytesMut,
        framing: Framing,
    ) -> Result<()> {
        choose(session, context)?;
        let (server, is_reused) = match context.exchange.take_kept() {
            Some(server) => (server, true),
            None => (connect(session, context).await?, false),
        };
        let relay = Relay::new(self, session, context, server, framing)?;
        match relay.run(head).await {
            Ok(Outcome::Reusable(server)) => {
                context.exchange.keep(server);
                Ok(())
            }
            Ok(Outcome::Used) => Ok(()),
            Err(mut error) => {
                error.set_retry(exchange::goes_elsewhere(session, &error, context, is_reused));
                Err(error)
            }
        }
    }
}

fn choose(session: &Session, context: &mut Context) -> Result<()> {
    let asking = exchange::asking(session, context);
    let Context { exchange, site, route, .. } = context;
    match exchange.choose(pool_of(site, *route)?, asking) {
        Some(_) => Ok(()),
        None => {
            let unavailable = ErrorType::HTTPStatus(StatusCode::SERVICE_UNAVAILABLE.as_u16());
            Error::e_explain(unavailable, "no server is fit for it")
        }
    }
}

async fn connect(session: &Session, context: &mut Context) -> Result<TcpStream> {
    let connected = context.exchange.connect(pool_of(&context.site, context.route)?).await;
    connected.map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
            ErrorKind::TimedOut => ErrorType::ConnectTimedout,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => ErrorType::ConnectNoRoute,
            _ => ErrorType::ConnectError,
        };
        let mut error = Error::because(kind, "connecting to a server", error).into_up();
        error.set_retry(exchange::goes_elsewhere_unconnected(session, &error, context));
        error
    })
}
