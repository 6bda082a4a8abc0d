//! A route: what holds for some hosts, paths and methods.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use access_token::{Claims, Role};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use super::files::FileFolder;
use super::pattern::Pattern;

/// Fields of an answer, each name once. `None`: not set here, whatever a wider route says.
pub type Fields = Vec<(HeaderName, Option<HeaderValue>)>;

/// What holds for some hosts, paths and methods.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which paths.
    pub pattern: Pattern,
    /// Which hosts (indices into [`Policy::hosts`](super::Policy::hosts)); none named: all.
    pub hosts: Vec<usize>,
    /// Which methods; none named: all.
    pub methods: Vec<Method>,
    /// Who may come at all; `None`: everybody, an empty list: nobody.
    pub allow: Option<Vec<IpNet>>,
    /// Who may not, allowed or not.
    pub deny: Vec<IpNet>,
    /// Limits (indices into [`Policy::limits`](super::Policy::limits)).
    pub limits: Vec<usize>,
    /// Whether an access token is asked for.
    pub token: TokenRule,
    /// Roles that may pass; none named: all.
    pub roles: Vec<Role>,
    /// What a token must say besides.
    pub claims: Vec<ClaimRule>,
    /// Where the request goes.
    pub target: Target,
    /// Whether the route is a WebSocket; then the Origin is checked and an upgrade forwarded.
    pub websocket: bool,
    /// Origins besides this site's own that may open it.
    pub origins: Vec<String>,
    /// How long a server may be silent, where it isn't as long as the upstream says.
    pub read_timeout: Option<Duration>,
    /// The longest body, where it isn't the general one.
    pub max_body_bytes: Option<u64>,
    /// Which other sites' pages may ask.
    pub cors: Option<Cors>,
    /// Whether answers may be compressed, where it is said.
    pub compress: Option<bool>,
    /// What answers carry.
    pub headers: Fields,
}

/// Whether an access token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRule {
    /// Not looked at.
    None,
    /// Verified when it is there.
    Optional,
    /// Without a valid one: 401.
    Required,
}

/// A claim that must have one of some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// Which claim.
    pub claim: ClaimName,
    /// What it may be; never empty.
    pub values: Vec<String>,
}

/// A claim of an access token that is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimName {
    /// Who issued it.
    Iss,
    /// Whom it is for.
    Aud,
    /// The user.
    Sub,
    /// The session.
    Sid,
    /// What the user may do.
    Role,
    /// The token's own id.
    Jti,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a server of an upstream (index into [`Policy::upstreams`](super::Policy::upstreams)).
    Upstream(usize),
    /// To a file below this folder.
    Files(FileFolder),
    /// Elsewhere.
    Redirect(Redirect),
    /// Nowhere: the answer is always the same.
    Respond(FixedAnswer),
}

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A path of the same host, or an `https://` URL; with `keep_path` without a slash at its end.
    pub to: String,
    /// 301, 302, 307 or 308.
    pub status: StatusCode,
    /// Whether what lies below the route's own path, and the query, come along.
    pub keep_path: bool,
}

/// An answer that is always the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    /// 2xx, 4xx or 5xx.
    pub status: StatusCode,
    /// The body's media type.
    pub content_type: HeaderValue,
    /// The body.
    pub body: String,
}

/// Which other sites' pages may ask, as browsers understand it (the Fetch standard, "CORS protocol"). No guard against
/// anybody but the pages: a client that is no browser doesn't ask.
#[derive(Clone, Debug)]
pub struct Cors {
    /// Whose pages, as `https://host[:port]` in lower case; `None`: everybody's.
    pub origins: Option<Vec<String>>,
    /// With which methods; never empty.
    pub methods: Vec<Method>,
    /// With which fields besides those that need no asking.
    pub headers: Vec<HeaderName>,
    /// Whether cookies and tokens come along.
    pub credentials: bool,
    /// How long a browser may remember what it was told.
    pub max_age: Duration,
}

impl Route {
    /// What is asked of a token, in words.
    pub fn token_words(&self) -> String {
        let rule = match self.token {
            TokenRule::None => return "none needed".to_owned(),
            TokenRule::Optional => "optional",
            TokenRule::Required => "required",
        };
        let mut words = rule.to_owned();
        let roles: Vec<_> = self.roles.iter().map(|role| role.as_str()).collect();
        if !roles.is_empty() {
            words.push_str(&format!(", role {}", roles.join(" or ")));
        }
        for ClaimRule { claim, values } in &self.claims {
            words.push_str(&format!(", {} {}", claim.as_str(), values.join(" or ")));
        }
        words
    }

    /// Whether the route speaks for this method.
    pub fn has_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Whether the route speaks for this host.
    pub fn has_host(&self, host: usize) -> bool {
        self.hosts.is_empty() || self.hosts.contains(&host)
    }

    /// Whether a verified token may pass.
    pub fn admits(&self, claims: &Claims) -> bool {
        (self.roles.is_empty() || self.roles.contains(&claims.role))
            && self.claims.iter().all(|rule| rule.holds(claims))
    }

    /// Why no order of the file may decide between this route and another; `None` where one of them is the narrower, or no
    /// request meets both. The path is looked at first, then the host, then the method: a route for one host, however wide,
    /// never opens what another route closes further down.
    pub fn tie(&self, other: &Self) -> Option<Tie> {
        if !meet(&self.hosts, &other.hosts) {
            return None;
        }
        let (ours, theirs) = (&self.pattern, &other.pattern);
        match (ours.covers(theirs), theirs.covers(ours)) {
            (true, true) => {
                let is_tie = self.hosts.is_empty() == other.hosts.is_empty()
                    && self.methods.is_empty() == other.methods.is_empty()
                    && meet(&self.methods, &other.methods);
                is_tie.then_some(Tie::Same)
            }
            (false, false) if ours.overlaps(theirs) => Some(Tie::Crossing),
            _ => None,
        }
    }
}

/// Why neither of two routes is the narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// The same path, and a host and a method in common.
    Same,
    /// Some paths in common, and each has some of its own.
    Crossing,
}

/// Whether two lists have something in common; an empty one stands for all.
fn meet<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.is_empty() || b.is_empty() || a.iter().any(|item| b.contains(item))
}

impl ClaimRule {
    /// Whether a token's claim has one of the values.
    pub fn holds(&self, claims: &Claims) -> bool {
        let value = match self.claim {
            ClaimName::Iss => claims.iss.as_str(),
            ClaimName::Aud => claims.aud.as_str(),
            ClaimName::Sub => claims.sub.as_str(),
            ClaimName::Sid => claims.sid.as_str(),
            ClaimName::Role => claims.role.as_str(),
            ClaimName::Jti => claims.jti.as_str(),
        };
        self.values.iter().any(|accepted| accepted == value)
    }
}

impl ClaimName {
    /// As it stands in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Iss => "iss",
            Self::Aud => "aud",
            Self::Sub => "sub",
            Self::Sid => "sid",
            Self::Role => "role",
            Self::Jti => "jti",
        }
    }
}

impl fmt::Display for Cors {
    /// `https://shop.example may GET, PUT with content-type`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins = self.origins.as_ref().map_or("every origin".to_owned(), |named| named.join(", "));
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        write!(f, "{origins} may {}", methods.join(", "))?;
        let headers: Vec<_> = self.headers.iter().map(HeaderName::as_str).collect();
        if !headers.is_empty() {
            write!(f, " with {}", headers.join(", "))?;
        }
        f.write_str(if self.credentials { ", credentials included" } else { "" })
    }
}

impl Cors {
    /// Whether pages of this origin may ask.
    pub fn has_origin(&self, origin: &str) -> bool {
        self.origins.as_ref().is_none_or(|named| named.iter().any(|name| name.eq_ignore_ascii_case(origin)))
    }
}

/// An origin (RFC 6454): scheme, host and perhaps a port. In lower case, as browsers send it.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let well_formed = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https"))
        .is_some_and(|(_, rest)| !rest.contains('@') && rest.parse::<Authority>().is_ok());
    match well_formed {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("`{text}` is not an origin such as https://shop.example")),
    }
}

/// Whether a name is one of this machine's, or an address: nothing that the world knows.
pub(super) fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || address.parse::<IpAddr>().is_ok()
}
