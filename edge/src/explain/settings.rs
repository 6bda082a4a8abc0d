//! What a route's settings come to for one request: which budgets it would use, how much it may bring, how long a server
//! may take, and what its answer would carry.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue, header};
use serde::Serialize;

use crate::config::{LimitKey, Policy, Target};
use crate::guards::Findings;
use crate::request::{RequestView, only};
use crate::response_headers::{Asked, Change, changes};
use crate::routes::Matched;

/// The settings that hold for a request.
#[derive(Debug, Serialize)]
pub struct Settings {
    /// The budgets, narrowest first.
    pub limits: Vec<Budget>,
    /// The longest body, bytes.
    pub max_body_bytes: u64,
    /// How long a server may be silent; absent where no server is asked.
    pub read_timeout_ms: Option<u128>,
    /// Which other sites' pages may ask.
    pub cors: Option<String>,
    /// The codings that the answer may be compressed with, those that are liked better first.
    pub compression: Vec<&'static str>,
    /// Fields that are set on the answer, besides its own.
    pub headers: Vec<(String, String)>,
}

/// One budget that a request would use.
#[derive(Debug, Serialize)]
pub struct Budget {
    /// The limit, in words.
    pub limit: String,
    /// Whose budget it is.
    pub key: String,
}

impl Settings {
    pub(super) fn of(
        policy: &Policy,
        request: &RequestView<'_>,
        matched: &Matched<'_>,
        host: Option<usize>,
        findings: &Findings,
        preflight: Option<&[(HeaderName, HeaderValue)]>,
    ) -> Self {
        let origin = only(request.headers, &header::ORIGIN);
        let asked = Asked { host, matched: Some(*matched), origin, is_preflight: preflight.is_some() };
        let mut headers = Vec::new();
        let mut note = |name: HeaderName, value: HeaderValue| {
            headers.push((name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        };
        for (name, value) in preflight.unwrap_or_default() {
            note(name.clone(), value.clone());
        }
        let Ok(()) = changes(policy, &asked, |change| {
            if let Change::Set(name, value) | Change::Add(name, value) = change {
                note(name, value);
            }
            Ok::<_, Infallible>(())
        });
        let default_timeout = match matched.route().target {
            Target::Upstream(index) if matched.route().websocket => {
                Some(policy.upstreams[index].websocket_idle)
            }
            Target::Upstream(index) => {
                Some(matched.read_timeout().unwrap_or(policy.upstreams[index].read_timeout))
            }
            _ => None,
        };
        Self {
            limits: budgets(policy, request, matched, findings),
            max_body_bytes: matched.max_body_bytes().unwrap_or(policy.connections.max_body_bytes),
            read_timeout_ms: default_timeout.map(|time| time.as_millis()),
            cors: matched.cors().map(ToString::to_string),
            compression: codings(policy, matched),
            headers,
        }
    }
}

fn codings(policy: &Policy, matched: &Matched<'_>) -> Vec<&'static str> {
    let policy = policy.compression.as_ref().filter(|_| matched.may_compress());
    policy.map(|policy| policy.codings.iter().map(|coding| coding.token()).collect()).unwrap_or_default()
}

fn budgets(
    policy: &Policy,
    request: &RequestView<'_>,
    matched: &Matched<'_>,
    findings: &Findings,
) -> Vec<Budget> {
    let address = match request.client.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            format!("{}/64", std::net::Ipv6Addr::from(network))
        }
    };
    let user = match &findings.claims {
        Some(claims) => format!("user {}", claims.sub),
        None => "the user of a valid token".to_owned(),
    };
    let mut seen = Vec::new();
    let mut budgets = Vec::new();
    for index in matched.along_the_path().flat_map(|route| &route.limits) {
        if seen.contains(index) {
            continue;
        }
        seen.push(*index);
        let limit = &policy.limits[*index];
        let key = match limit.by {
            LimitKey::Address => address.clone(),
            LimitKey::User => user.clone(),
            LimitKey::Both => format!("{user} at {address}"),
        };
        budgets.push(Budget { limit: limit.to_string(), key });
    }
    budgets
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, words: &str| writeln!(f, "  {name:<11} {words}");
        let mut name = "budgets";
        for Budget { limit, key } in &self.limits {
            line(name, &format!("{limit}, of {key}"))?;
            name = "";
        }
        line("body", &format!("{} bytes at most", self.max_body_bytes))?;
        if let Some(ms) = self.read_timeout_ms {
            line("timeout", &format!("{ms} ms without a byte from the server"))?;
        }
        line("cors", self.cors.as_deref().unwrap_or("none: pages of other sites can't read the answer"))?;
        match self.compression.as_slice() {
            [] => line("compression", "none")?,
            codings => line("compression", &format!("{}, as the client asks", codings.join(", ")))?,
        }
        let mut name = "headers";
        for (field, value) in &self.headers {
            line(name, &format!("{field}: {value}"))?;
            name = "";
        }
        Ok(())
    }
}
