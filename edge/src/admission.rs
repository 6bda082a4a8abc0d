//! What must be known of a request before a guard is asked: host, client address, canonical path, route. The gateway
//! and `edge explain` both come through here, so that one can't say what the other doesn't do.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method};

use crate::client_ip::client_ip;
use crate::config::Policy;
use crate::path::canonicalise;
use crate::problem::Problem;
use crate::redirect::host_name;
use crate::routes::{Matched, RouteTable};

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The method.
    pub method: &'a Method,
    /// The one name that it is for, perhaps with a port.
    pub authority: &'a str,
    /// The path, byte for byte, without the query.
    pub raw_path: &'a str,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// The connection's address.
    pub peer: SocketAddr,
}

/// What became known on the way, also where the way ended early.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The client's address, IPv4-mapped ones as IPv4.
    pub client: Option<IpAddr>,
    /// The canonical path.
    pub path: String,
    /// The host, as an index into the policy's.
    pub host: Option<usize>,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Methods that no route may allow.
    Method,
    /// A name that this gateway answers for.
    Host,
    /// Whose request it is.
    Client,
    /// A path that has one meaning.
    Path,
    /// A route that speaks for it.
    Route,
}

/// Why the way ended.
#[derive(Debug)]
pub struct NotAdmitted {
    /// Where.
    pub at: Step,
    /// What the client is told.
    pub problem: Problem,
}

/// The routes of a request, if every step holds. `server_name` is the name that its connection was made to, if any
/// (RFC 6066, section 3).
pub fn admit<'a>(
    policy: &Policy,
    routes: &'a RouteTable,
    arrival: &Arrival<'a>,
    server_name: Option<&str>,
    known: &mut Known,
) -> Result<Matched<'a>, NotAdmitted> {
    let refuse = |at, problem| NotAdmitted { at, problem };
    if matches!(*arrival.method, Method::CONNECT | Method::TRACE) {
        return Err(refuse(Step::Method, Problem::method_not_allowed()));
    }
    let name = host_name(arrival.authority);
    let host = policy.host(name).ok_or_else(|| refuse(Step::Host, Problem::misdirected()))?;
    // What was shown to the client proves the name that it connected to, and no other (RFC 9110, section 7.4).
    if server_name.is_some_and(|server_name| !server_name.eq_ignore_ascii_case(name)) {
        return Err(refuse(Step::Host, Problem::misdirected()));
    }
    known.host = Some(host);
    known.client = client_ip(arrival.peer, arrival.headers, &policy.trusted_proxies);
    if known.client.is_none() {
        let problem = Problem::bad_request("X-Forwarded-For has an entry that is no address.");
        return Err(refuse(Step::Client, problem));
    }
    known.path = canonicalise(arrival.raw_path)
        .map_err(|error| refuse(Step::Path, Problem::bad_request(error.to_string())))?
        .into_owned();
    routes.find(arrival.method, host, &known.path).ok_or_else(|| refuse(Step::Route, Problem::not_found()))
}
