//! The head of a request, and the chunks of its body.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, Method, header};

use super::Unfit;

/// Options that one `Connection` field may name; each is looked for among the fields.
const MOST_NOMINATIONS: usize = 9;
/// Fields that belong to the connection that they came on, whoever sent them (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "http2-settings",
];

/// What ends a body in chunks.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Whether a request's field goes no further than this gateway.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// `GET /path HTTP/1.1`
pub fn write_request_line(to: &mut BytesMut, method: &Method, target: &[u8]) -> Result<(), Unfit> {
    if target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
        return Err(Unfit::Target);
    }
    for part in [method.as_str().as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
        to.extend_from_slice(part);
    }
    Ok(())
}

/// `name: value`, both of which can't hold a line end.
pub fn write_field(to: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        to.extend_from_slice(part);
    }
}

/// A part of a body, as one chunk; an empty one would be the end.
pub fn write_chunk(to: &mut BytesMut, part: &[u8]) {
    if !part.is_empty() {
        to.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        to.extend_from_slice(part);
        to.extend_from_slice(b"\r\n");
    }
}

/// The fields that `Connection` says belong to the connection.
#[derive(Debug, Default)]
pub struct Nominations<'a>(Vec<&'a [u8]>);

impl<'a> Nominations<'a> {
    /// Those of a request. One that names a field by which servers know whose the request is, isn't forwarded: it means
    /// to have it taken out.
    pub fn of_request(headers: &'a HeaderMap) -> Result<Self, Unfit> {
        let nominations = Self::of_answer(headers);
        let is_fit = |name: &&[u8]| name.iter().all(|byte| is_token_byte(*byte)) && !is_protected(name);
        match nominations.0.len() <= MOST_NOMINATIONS && nominations.0.iter().all(is_fit) {
            true => Ok(nominations),
            false => Err(Unfit::Connection),
        }
    }

    /// Those of an answer.
    pub fn of_answer(headers: &'a HeaderMap) -> Self {
        let lists = headers.get_all(header::CONNECTION).iter();
        let names =
            lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        Self(names.filter(|name| !name.is_empty()).collect())
    }

    /// Whether this field is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|nominated| nominated.eq_ignore_ascii_case(name.as_bytes()))
    }
}

fn is_protected(name: &[u8]) -> bool {
    ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
        .iter()
        .any(|protected| name.eq_ignore_ascii_case(protected.as_bytes()))
}

/// RFC 9110, section 5.6.2
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nominations(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::CONNECTION, line.parse().expect("a value"))).collect()
    }

    #[test]
    fn what_connection_names_is_found_and_what_it_must_not_name_refused() {
        let headers = nominations(&["close, X-Own", " keep-alive,,", ""]);
        let found = Nominations::of_request(&headers).expect("fit");
        assert!(found.contains("x-own") && found.contains("keep-alive") && !found.contains("x-other"));
        for line in ["Host", "close, X-FORWARDED-FOR", ":authority", "\"x\"", "a b", "a,b,c,d,e,f,g,h,i,j"] {
            assert_eq!(
                Nominations::of_request(&nominations(&[line])).err(),
                Some(Unfit::Connection),
                "{line}"
            );
        }
    }

    #[test]
    fn a_target_ends_no_request_line() {
        let line = |target: &[u8]| write_request_line(&mut BytesMut::new(), &Method::GET, target);
        assert_eq!(line(b"/a?b=|\xe9"), Ok(()));
        for target in [&b"/ HTTP/1.1"[..], b"/\r\nX: y", b"/\n", b"/\0", b"/\x7f"] {
            assert_eq!(line(target), Err(Unfit::Target));
        }
    }

    #[test]
    fn an_empty_part_is_no_end() {
        let mut body = BytesMut::new();
        for part in [&b"seventeen bytes !"[..], b"", b"x"] {
            write_chunk(&mut body, part);
        }
        assert_eq!(&body[..], b"11\r\nseventeen bytes !\r\n1\r\nx\r\n");
    }
}
