//! What the guards see of a request: plain values, none of Pingora's types.

use std::net::IpAddr;

pub use access_token::Bearer;
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
    /// The query as it came, without its `?`; empty where there is none.
    pub query: &'a str,
    /// The headers as they came.
    pub headers: &'a HeaderMap,
    /// The client's address, IPv4-mapped ones as IPv4.
    pub client: IpAddr,
}

impl<'a> RequestView<'a> {
    /// The bearer token of the request (RFC 6750, section 2.1).
    pub fn bearer(&self) -> Bearer<'a> {
        Bearer::of(self.headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes))
    }

    /// Whether the query has a parameter of this name, however it is spelled there.
    pub fn has_parameter(&self, name: &str) -> bool {
        let names = self.query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        names.into_iter().any(|spelled| decoded(spelled).eq(name.bytes()))
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

/// The bytes that a parameter's name stands for (`application/x-www-form-urlencoded`). An escape that is none stands for
/// itself.
fn decoded(spelled: &str) -> impl Iterator<Item = u8> {
    let mut rest = spelled.as_bytes();
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let escaped = || Some((hex_digit(*after.first()?)? << 4) | hex_digit(*after.get(1)?)?);
        let (byte, after) = match first {
            b'%' => escaped().map_or((b'%', after), |byte| (byte, &after[2..])),
            b'+' => (b' ', after),
            byte => (byte, after),
        };
        rest = after;
        Some(byte)
    })
}

fn hex_digit(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|digit| digit.try_into().ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn has_parameter(query: &str) -> bool {
        let client = IpAddr::from([127, 0, 0, 1]);
        let (method, headers) = (&Method::GET, &HeaderMap::new());
        let view = RequestView { method, authority: "localhost", path: "/", query, headers, client };
        view.has_parameter("access_token")
    }

    #[test]
    fn a_parameter_is_found_however_it_is_spelled() {
        for query in
            ["access_token=x", "a=b&access_token=x&c", "access_token", "%61ccess%5Ftoken=x", "&access_token="]
        {
            assert!(has_parameter(query), "{query}");
        }
        for query in [
            "",
            "access_tokens=x",
            "a=access_token",
            "x=1?access_token=2",
            "access%token",
            "access%5",
            "%",
            "ACCESS_TOKEN=x",
        ] {
            assert!(!has_parameter(query), "{query}");
        }
    }
}
