//! The head of an answer: read whole, refused where it has two meanings, and made fit for another connection.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use httparse::{ParserConfig, Response, Status};
use pingora::http::ResponseHeader;

use super::{Flaw, Length, Nominations};

/// A head is no longer than this. The services' own are below 1 KiB.
pub const MOST_HEAD_BYTES: usize = 32 * 1024;
const MOST_FIELDS: usize = 100;
/// The gateway adds about as many of its own.
const OWN_FIELDS: usize = 12;

/// An answer whose head has come.
#[derive(Debug)]
pub struct Answer {
    /// Status and fields; none that belong to the connection, and `Content-Length` once at most.
    pub head: ResponseHeader,
    /// How long its body is.
    pub body: Length,
    /// Whether another request may follow on the connection, once the body has come.
    pub is_kept_alive: bool,
}

/// Takes the head that `buffer` begins with, the answer to a request with this method; `None` while it isn't whole.
pub fn read_head(buffer: &mut BytesMut, method: &Method) -> Result<Option<Answer>, Flaw> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = Response::new(&mut []);
    let config = ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, buffer, &mut fields);
    let length = match parsed {
        Ok(Status::Complete(length)) if length <= MOST_HEAD_BYTES => length,
        Ok(Status::Partial) if buffer.len() < MOST_HEAD_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Flaw::TooLarge),
        Err(_) => return Err(Flaw::Malformed),
    };
    let answer = answer(&response, method)?;
    buffer.advance(length);
    Ok(Some(answer))
}

fn answer(response: &Response<'_, '_>, method: &Method) -> Result<Answer, Flaw> {
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Flaw::Malformed)?;
    let size = response.headers.len() + OWN_FIELDS;
    let mut head = ResponseHeader::build_no_case(status, Some(size)).map_err(|_| Flaw::Malformed)?;
    head.set_reason_phrase(response.reason).map_err(|_| Flaw::Malformed)?;
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Flaw::Malformed)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Flaw::Malformed)?;
        head.append_header(name, value).map_err(|_| Flaw::Malformed)?;
    }
    let is_1_0 = response.version == Some(0);
    let (body, is_unmistakable) = body_length(&head.headers, status, method, is_1_0)?;
    let is_kept_alive = is_unmistakable && body != Length::ToTheEnd && is_kept_alive(&head.headers, is_1_0);
    make_fit(&mut head, body)?;
    Ok(Answer { head, body, is_kept_alive })
}

/// RFC 9112, section 6.3; and whether nobody could have read it differently.
fn body_length(
    headers: &HeaderMap,
    status: StatusCode,
    method: &Method,
    is_1_0: bool,
) -> Result<(Length, bool), Flaw> {
    let length = length(headers)?;
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = match (encodings.next(), encodings.next()) {
        (None, _) => false,
        // Nobody asked for any other.
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"chunked") && !is_1_0 => true,
        (Some(_), _) => return Err(Flaw::Encoding),
    };
    let has_none = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || method == Method::HEAD;
    Ok(match (is_chunked, length) {
        _ if has_none => (Length::Bytes(0), true),
        (true, length) => (Length::Chunked, length.is_none()),
        (false, Some(length)) => (Length::Bytes(length), true),
        (false, None) => (Length::ToTheEnd, true),
    })
}

/// The one number that all `Content-Length`s say (RFC 9110, section 8.6).
fn length(headers: &HeaderMap) -> Result<Option<u64>, Flaw> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for digits in value.as_bytes().split(|byte| *byte == b',') {
            let number = number(digits.trim_ascii()).ok_or(Flaw::Length)?;
            if length.replace(number).is_some_and(|other| other != number) {
                return Err(Flaw::Length);
            }
        }
    }
    Ok(length)
}

fn number(digits: &[u8]) -> Option<u64> {
    // More of them than a body could have bytes.
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

fn is_kept_alive(headers: &HeaderMap, is_1_0: bool) -> bool {
    let options = Nominations::of_answer(headers);
    !options.contains("close") && (!is_1_0 || options.contains("keep-alive"))
}

/// Takes out what belongs to the connection that it came on (RFC 9110, section 7.6.1).
fn make_fit(head: &mut ResponseHeader, body: Length) -> Result<(), Flaw> {
    let is_of_connection = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "connection"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        )
    };
    let options = Nominations::of_answer(&head.headers);
    let is_nominated = |name: &HeaderName| options.contains(name.as_str()) && !is_of_framing(name);
    let leaving: Vec<HeaderName> =
        head.headers.keys().filter(|name| is_of_connection(name) || is_nominated(name)).cloned().collect();
    for name in leaving {
        head.remove_header(&name);
    }
    let lengths = head.headers.get_all(header::CONTENT_LENGTH).iter().count();
    match body {
        Length::Chunked => {
            head.remove_header(&header::CONTENT_LENGTH);
        }
        // A list, or several.
        Length::Bytes(_) if lengths > 0 => {
            let length = length(&head.headers)?.ok_or(Flaw::Length)?;
            head.insert_header(header::CONTENT_LENGTH, length).map_err(|_| Flaw::Length)?;
        }
        Length::Bytes(_) | Length::ToTheEnd => {}
    }
    Ok(())
}

/// A server can't have the length of its own answer taken out.
fn is_of_framing(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Answer, Flaw> {
        read_head(&mut text.into(), &Method::GET).map(|answer| answer.expect("a whole head"))
    }

    fn with(fields: &str) -> Result<Answer, Flaw> {
        read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"))
    }

    #[test]
    fn where_a_body_ends_is_said_once() {
        for (fields, body, is_kept_alive) in [
            ("Content-Length: 12", Length::Bytes(12), true),
            ("Content-Length: 12\r\nConnection: close", Length::Bytes(12), false),
            ("Content-Length: 12, 12\r\nContent-Length: 12", Length::Bytes(12), true),
            ("Transfer-Encoding: Chunked", Length::Chunked, true),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3", Length::Chunked, false),
            ("A: b", Length::ToTheEnd, false),
        ] {
            let answer = with(fields).expect("an answer");
            assert_eq!((answer.body, answer.is_kept_alive), (body, is_kept_alive), "{fields}");
            let lengths = answer.head.headers.get_all(header::CONTENT_LENGTH).iter().count();
            assert_eq!(lengths, usize::from(matches!(body, Length::Bytes(_))), "{fields}");
            assert!(!answer.head.headers.contains_key(header::TRANSFER_ENCODING), "{fields}");
        }
    }

    #[test]
    fn answers_without_a_body_have_none_whatever_they_say() {
        for (line, method) in [("204 No", "GET"), ("304 No", "GET"), ("103 Early", "GET"), ("200 OK", "HEAD")]
        {
            let text = format!("HTTP/1.1 {line}\r\nContent-Length: 7\r\n\r\n");
            let method = method.parse().expect("a method");
            let answer = read_head(&mut text.as_str().into(), &method).expect("fit").expect("whole");
            assert_eq!((answer.body, answer.is_kept_alive), (Length::Bytes(0), true), "{line}");
            assert_eq!(answer.head.headers[header::CONTENT_LENGTH], "7");
        }
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for (fields, flaw) in [
            ("Content-Length: 1\r\nContent-Length: 2", Flaw::Length),
            ("Content-Length: 1, 2", Flaw::Length),
            ("Content-Length: +1", Flaw::Length),
            ("Content-Length:", Flaw::Length),
            ("Content-Length: 9999999999999999999", Flaw::Length),
            ("Transfer-Encoding: gzip, chunked", Flaw::Encoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Flaw::Encoding),
            ("Transfer-Encoding: identity", Flaw::Encoding),
            ("Content-Length : 1", Flaw::Malformed),
            ("A: b\r\n folded", Flaw::Malformed),
            ("A: \0", Flaw::Malformed),
            ("no colon", Flaw::Malformed),
        ] {
            assert_eq!(with(fields).err(), Some(flaw), "{fields}");
        }
        for text in
            ["HTTP/2 200 OK\r\n\r\n", "200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n"]
        {
            assert_eq!(read(text).err(), Some(Flaw::Malformed), "{text}");
        }
        assert_eq!(read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").err(), Some(Flaw::Encoding));
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_whole() {
        assert_eq!(with("A: b\r\n".repeat(101).trim_end()).err(), Some(Flaw::TooLarge));
        let begun = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MOST_HEAD_BYTES));
        assert_eq!(read_head(&mut begun.as_str().into(), &Method::GET).err(), Some(Flaw::TooLarge));
    }

    #[test]
    fn old_servers_keep_a_connection_only_if_they_say_so() {
        let kept =
            |fields| read(&format!("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n{fields}\r\n")).expect("fit");
        assert!(!kept("").is_kept_alive);
        assert!(kept("Connection: Keep-Alive\r\n").is_kept_alive);
    }

    #[test]
    fn fields_of_the_connection_go_no_further() {
        let fields =
            "Connection: x-own, content-length\r\nX-Own: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\nX: y";
        let answer = with(fields).expect("an answer");
        let mut names: Vec<_> = answer.head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "x"]);
    }

    #[test]
    fn a_head_is_taken_when_it_is_whole_and_nothing_else() {
        let text = "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\n";
        for end in 0..text.len() {
            let mut buffer = BytesMut::from(&text[..end]);
            assert!(read_head(&mut buffer, &Method::GET).expect("no flaw").is_none(), "{end}");
            assert_eq!(buffer.len(), end);
        }
        let mut buffer = BytesMut::from(format!("{text}OK").as_str());
        let answer = read_head(&mut buffer, &Method::GET).expect("no flaw").expect("a head");
        assert_eq!((&buffer[..], answer.head.get_reason_phrase()), (&b"OK"[..], Some("Fine")));
    }
}
