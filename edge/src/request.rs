//! What the guards see of a request: plain values, none of Pingora's types.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// A request, as far as a decision may depend on it.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a Method,
    /// `Host` or `:authority`, as the client sent it: a name this gateway answers for, perhaps with a port.
    pub authority: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The headers as they came.
    pub headers: &'a HeaderMap,
    /// The client's address, IPv4-mapped ones as IPv4.
    pub client: IpAddr,
}

/// What a request's `Authorization` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// There is none.
    Absent,
    /// There is more than one, or it is not `Bearer` with one token.
    Malformed,
    /// A token, not verified.
    Token(&'a str),
}

impl<'a> RequestView<'a> {
    /// The bearer token of the request (RFC 6750, section 2.1).
    pub fn bearer(&self) -> Bearer<'a> {
        match self.only(header::AUTHORIZATION.as_str()) {
            Only::None => Bearer::Absent,
            Only::Several => Bearer::Malformed,
            Only::One(value) => {
                let Ok(text) = value.to_str() else { return Bearer::Malformed };
                match text.split_once(' ') {
                    Some((scheme, token))
                        if scheme.eq_ignore_ascii_case("bearer")
                            && !token.is_empty()
                            && !token.contains(char::is_whitespace) =>
                    {
                        Bearer::Token(token)
                    }
                    _ => Bearer::Malformed,
                }
            }
        }
    }

    /// The request's `Origin`: `None` when there is none, `Some(Err(()))` when it is not one readable value.
    pub fn origin(&self) -> Option<Result<&'a str, ()>> {
        match self.only(header::ORIGIN.as_str()) {
            Only::None => None,
            Only::Several => Some(Err(())),
            Only::One(value) => Some(value.to_str().map_err(|_| ())),
        }
    }

    fn only(&self, name: &str) -> Only<'a> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Only::None,
            (Some(value), None) => Only::One(value),
            _ => Only::Several,
        }
    }
}

/// The only value of a field; `None` when there is none, or several.
pub fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

enum Only<'a> {
    None,
    One(&'a HeaderValue),
    Several,
}
