//! One request and the servers that it was given to: what it holds there, what came of it, whether it is tried again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::net::TcpStream;

use super::Failure;
use super::conduct::Evidence;
use super::connect::connect;
use super::ejection::Trier;
use super::patience::Patience;
use super::pool::Pool;
use super::server::{AtWork, Server, Trial, now};
use crate::config::Upstream;

/// Tries of one request at most; [`crate::config`] allows no more.
pub(super) const MOST_TRIES: usize = 4;

/// The servers that a request was given to, in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    addresses: [Option<SocketAddr>; MOST_TRIES],
}

impl Tried {
    /// The last one.
    pub fn last(&self) -> Option<&SocketAddr> {
        self.addresses.iter().rev().flatten().next()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.addresses.iter().flatten().count()
    }

    /// Whether it was given to none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn only(address: SocketAddr) -> Self {
        let mut tried = Self::default();
        tried.push(address);
        tried
    }

    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&Some(address))
    }

    fn push(&mut self, address: SocketAddr) {
        if let Some(free) = self.addresses.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(address);
        }
    }
}

/// What a request may do, as far as it is known when a server is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Whether it may be sent twice (RFC 9110, section 9.2.1).
    pub is_safe: bool,
    /// Whose it is.
    pub client: Option<IpAddr>,
}

/// A request's exchange with an upstream.
#[derive(Default)]
pub struct Exchange {
    /// The servers so far.
    pub tried: Tried,
    at_work: Option<AtWork>,
    trial: Option<Trial>,
    /// The failure that a further try is made for, and the trial that it was.
    failed: Option<(Arc<Server>, Failure, Option<Trial>)>,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Failed,
    NoBudget,
}

/// What becomes of an answer's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The client gets it.
    Deliver,
    /// It is dropped, and another server is asked.
    TryElsewhere,
}

impl Exchange {
    /// Chooses a server for the next try; `None` when there is none. Allocates nothing.
    pub fn choose(&mut self, pool: &Pool, asking: Asking) -> Option<SocketAddr> {
        if self.tried.is_empty() {
            pool.budget().note_request(now());
        }
        let (server, trial) =
            self.try_out(pool, asking).or_else(|| Some((pool.select(&self.tried)?, None)))?;
        let address = server.address;
        self.tried.push(address);
        self.trial = trial;
        self.at_work = Some(AtWork::begin(server));
        Some(address)
    }

    /// The trial of a server whose time is over, if this request can be one: safe, and with somewhere else to go.
    fn try_out(&self, pool: &Pool, asking: Asking) -> Option<(Arc<Server>, Option<Trial>)> {
        if !asking.is_safe || !self.tried.is_empty() || pool.upstream().retries == 0 {
            return None;
        }
        let server = pool.servers().find(|server| server.may_be_tried())?;
        if !pool.has_other(&Tried::only(server.address)) {
            return None;
        }
        let trial = server.begin_trial(Trier::Request)?;
        Some((Arc::clone(server), Some(trial)))
    }

    /// A connection to the chosen server on which a request was answered before, if one waits.
    pub fn take_kept(&self) -> Option<TcpStream> {
        self.at_work.as_ref()?.server.kept.take(now())
    }

    /// A new connection to the chosen server.
    pub async fn connect(&self, pool: &Pool) -> io::Result<TcpStream> {
        let at_work = self.at_work.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        connect(at_work.server.address, pool.upstream()).await
    }

    /// The whole answer has come on this connection, and another may.
    pub fn keep(&self, connection: TcpStream) {
        let usable = self.at_work.as_ref().filter(|at_work| at_work.server.is_usable());
        if let Some(at_work) = usable {
            at_work.server.kept.put(connection, now());
        }
    }

    /// How long the request, which is about to be sent, waits. It leaves early, unless nobody else could give an answer, or
    /// the route says itself (`route_timeout`) how long its answers may take.
    pub fn patience(&self, pool: &Pool, asking: Asking, route_timeout: Option<Duration>) -> Patience {
        let Upstream { answer_timeout, read_timeout, retries, .. } = *pool.upstream();
        let may_leave = asking.is_safe && self.tried.len() <= retries && pool.has_other(&self.tried);
        let server = self.at_work.as_ref().filter(|_| may_leave).map(|at_work| Arc::clone(&at_work.server));
        let leaves = server.map(|server| (route_timeout.unwrap_or(answer_timeout), server));
        Patience::new(route_timeout.unwrap_or(read_timeout), leaves)
    }

    /// A final answer has begun (or the protocol was switched).
    pub fn answered(
        &mut self,
        pool: &Pool,
        status: StatusCode,
        asking: Asking,
        may_repeat: bool,
    ) -> Delivery {
        if let Some(at_work) = &mut self.at_work {
            at_work.end_waiting();
            if status == StatusCode::SWITCHING_PROTOCOLS {
                at_work.open_websocket();
            }
        }
        if is_failure(status) {
            let is_again = self.failed(pool, Some(Failure::Status), asking, may_repeat);
            return if is_again { Delivery::TryElsewhere } else { Delivery::Deliver };
        }
        if let Some(at_work) = &self.at_work {
            at_work.server.conduct.note_answer(now());
        }
        self.outcome = Some(Outcome::Answered);
        if let Some(trial) = self.trial.take() {
            trial.pass();
        }
        if let Some((server, failure, trial)) = self.failed.take() {
            let evidence = match failure {
                // The first try may have warmed up what the second one found.
                Failure::Late => Evidence::Alone { client: pool.hash_of(asking.client) },
                _ => Evidence::Compared,
            };
            pool.judge(&server, failure, evidence);
            if let Some(trial) = trial {
                trial.fail();
            }
        }
        Delivery::Deliver
    }

    /// A try has ended without a good answer; `failure` is the server's, if it is one. Whether the request is tried
    /// elsewhere: if it `may_repeat`, another server is usable, and the budget allows it.
    pub fn failed(
        &mut self,
        pool: &Pool,
        failure: Option<Failure>,
        asking: Asking,
        may_repeat: bool,
    ) -> bool {
        let Some(server) = self.at_work.as_ref().map(|at_work| Arc::clone(&at_work.server)) else {
            return false;
        };
        let mut trial = self.trial.take();
        let is_trial = trial.is_some();
        let is_first = self.failed.is_none();
        let mut of_the_answer = None;
        match failure {
            // No request has anything to do with whether a connection can be made.
            Some(failure) if failure.is_of_connection() => {
                pool.judge(&server, failure, Evidence::Compared);
                if let Some(trial) = trial.take() {
                    trial.fail();
                }
            }
            // What fails on two servers says nothing of either.
            Some(failure) if is_first => of_the_answer = Some(failure),
            Some(_) | None => {}
        }
        // A bad answer is still one: it isn't given up for a server that is no better.
        let has_other = match failure {
            Some(Failure::Status) => pool.has_other(&self.tried),
            _ => pool.has_any_other(&self.tried),
        };
        if may_repeat && self.tried.len() <= pool.upstream().retries && has_other {
            if is_trial || pool.budget().withdraw(now()) {
                self.outcome = Some(Outcome::Failed);
                self.at_work = None;
                if let Some(failure) = of_the_answer {
                    self.failed = Some((server, failure, trial));
                }
                return true;
            }
            self.outcome = Some(Outcome::NoBudget);
        }
        self.failed = None;
        if let Some(failure) = of_the_answer {
            pool.judge(&server, failure, Evidence::Alone { client: pool.hash_of(asking.client) });
        }
        false
    }

    /// Whether the last try was given up for another.
    pub fn is_going_elsewhere(&self) -> bool {
        self.at_work.is_none() && self.outcome == Some(Outcome::Failed)
    }

    /// The request is over: what came of its retry is counted.
    pub fn end(&mut self, pool: &Pool) {
        match self.outcome.take() {
            Some(Outcome::NoBudget) => pool.retries().refused.increment(1),
            Some(Outcome::Answered) if self.tried.len() > 1 => pool.retries().answered.increment(1),
            Some(Outcome::Failed) => pool.retries().failed.increment(1),
            Some(Outcome::Answered) | None => {}
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("tried", &self.tried).finish_non_exhaustive()
    }
}

/// What another server may do better; a 501 or 505 is an answer like any other.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
