//! Whether the header of an HTTP/1 request has one meaning only. Its bytes are looked at before anybody reads it who
//! would repair what is wrong: two servers repair differently, and what is between them is a smuggled request
//! (RFC 9112, section 11.2). The reading itself is httparse's, as it is Pingora's.

use httparse::{EMPTY_HEADER, Request, Status};

/// More lines than any limit allows.
const MOST_FIELDS: usize = 100;

/// How large a header may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// In all.
    pub bytes: usize,
    /// Of the request's target.
    pub target_bytes: usize,
    /// Lines behind the request line.
    pub fields: usize,
}

/// What comes behind a header (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes; none where the header says nothing.
    Bytes(u64),
    /// Chunks, the last of which is empty.
    Chunked,
}

/// Why a header is refused. The connection ends with it: nobody knows where the next request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A line that doesn't end in CR LF.
    #[error("A line of the header does not end in CR LF.")]
    LineEnding,
    /// A control character.
    #[error("The header has a control character.")]
    ControlByte,
    /// Not a request line, or not a field, as RFC 9112 has them.
    #[error("The header is not well-formed.")]
    Malformed,
    /// A version that isn't 1.0 or 1.1.
    #[error("Only HTTP/1.1 and HTTP/2 are spoken here.")]
    Version,
    /// A byte in the target that may not stand in a URI.
    #[error("The request's target has an illegal byte.")]
    Target,
    /// A `Content-Length` that is repeated or not a plain number.
    #[error("Content-Length is not one number.")]
    Length,
    /// A `Transfer-Encoding` that isn't `chunked` alone, or is there twice, or in HTTP/1.0.
    #[error("Transfer-Encoding is not `chunked` alone.")]
    Encoding,
    /// Both of them.
    #[error("Content-Length and Transfer-Encoding exclude each other.")]
    LengthAndEncoding,
    /// An upgrade that brings a body.
    #[error("A request to upgrade has no body.")]
    UpgradeWithBody,
    /// No `Host`, or several.
    #[error("A request has one Host.")]
    Host,
    /// A tunnel is asked for.
    #[error("CONNECT is not taken here.")]
    Connect,
    /// Something else than `100-continue` is expected (RFC 9110, section 10.1.1).
    #[error("Only 100-continue can be expected.")]
    Expectation,
    /// More bytes or lines than allowed.
    #[error("The request's header is too large.")]
    TooLarge,
    /// A longer target than allowed.
    #[error("The request's target is too long.")]
    TargetTooLong,
}

/// Looks for a header's end, byte by byte as they come.
#[derive(Debug, Default)]
pub struct HeadScanner {
    scanned: usize,
    line_len: usize,
    lines: usize,
    after_cr: bool,
}

impl HeadScanner {
    /// The length of the header that `buffer` begins with; `None` while it isn't complete. `buffer` is the same at each
    /// call but for what came in addition: only that is looked at.
    pub fn scan(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Flaw> {
        for byte in &buffer[self.scanned..] {
            self.scanned += 1;
            match (self.after_cr, *byte) {
                (true, b'\n') if self.line_len == 0 => return Ok(Some(self.scanned)),
                (true, b'\n') => {
                    self.after_cr = false;
                    self.line_len = 0;
                    self.lines += 1;
                    if self.lines > limits.fields + 1 {
                        return Err(Flaw::TooLarge);
                    }
                }
                (true, _) | (false, b'\n') => return Err(Flaw::LineEnding),
                (false, b'\r') => self.after_cr = true,
                (false, 0..=0x08 | 0x0b..=0x1f | 0x7f) => return Err(Flaw::ControlByte),
                (false, _) => self.line_len += 1,
            }
            if self.lines == 0 && self.line_len > limits.target_bytes + "OPTIONS  HTTP/1.1".len() {
                return Err(Flaw::TargetTooLong);
            }
            if self.scanned >= limits.bytes {
                return Err(Flaw::TooLarge);
            }
        }
        Ok(None)
    }
}

/// What comes behind a whole header, if the header has one meaning.
pub fn check(head: &[u8], limits: &HeadLimits) -> Result<BodyLength, Flaw> {
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    let mut request = Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Flaw::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(Flaw::TooLarge),
        Err(httparse::Error::Version) => return Err(Flaw::Version),
        Err(_) => return Err(Flaw::Malformed),
    }
    let is_1_0 = request.version == Some(0);
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Flaw::Malformed) };
    if target.len() > limits.target_bytes {
        return Err(Flaw::TargetTooLong);
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Flaw::Target);
    }
    if method == "CONNECT" {
        return Err(Flaw::Connect);
    }
    if request.headers.len() > limits.fields {
        return Err(Flaw::TooLarge);
    }
    let one = |name: &str, flaw| only(request.headers, name).map_err(|Several| flaw);
    if one("host", Flaw::Host)?.is_none() && !is_1_0 {
        return Err(Flaw::Host);
    }
    if one("expect", Flaw::Expectation)?.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Flaw::Expectation);
    }
    let length = one("content-length", Flaw::Length)?;
    let encoding = one("transfer-encoding", Flaw::Encoding)?;
    let body = match (length, encoding) {
        (Some(_), Some(_)) => return Err(Flaw::LengthAndEncoding),
        (None, None) => BodyLength::Bytes(0),
        (Some(length), None) => BodyLength::Bytes(number(length)?),
        (None, Some(encoding)) if encoding.eq_ignore_ascii_case(b"chunked") && !is_1_0 => BodyLength::Chunked,
        (None, Some(_)) => return Err(Flaw::Encoding),
    };
    let upgrades = request.headers.iter().any(|field| field.name.eq_ignore_ascii_case("upgrade"));
    if upgrades && body != BodyLength::Bytes(0) {
        return Err(Flaw::UpgradeWithBody);
    }
    Ok(body)
}

struct Several;

/// The value of a field that may be there once, without the white space around it.
fn only<'a>(fields: &[httparse::Header<'a>], name: &str) -> Result<Option<&'a [u8]>, Several> {
    let mut values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Several),
        (value, None) => Ok(value.map(|field| field.value.trim_ascii())),
    }
}

/// `1*DIGIT` (RFC 9110, section 8.6), and no more of them than a body could have bytes.
fn number(digits: &[u8]) -> Result<u64, Flaw> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Flaw::Length);
    }
    Ok(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 2000, target_bytes: 100, fields: 10 };

    /// Scans and checks as a connection does, whatever else stands behind the header.
    fn read(text: &str) -> Result<BodyLength, Flaw> {
        let length = HeadScanner::default().scan(text.as_bytes(), &LIMITS)?.expect("a whole header");
        check(&text.as_bytes()[..length], &LIMITS)
    }

    fn with(fields: &str) -> Result<BodyLength, Flaw> {
        read(&format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
    }

    #[test]
    fn a_good_header_says_what_comes_behind_it() {
        for (fields, body) in [
            ("A: b", BodyLength::Bytes(0)),
            ("Content-Length: 0012 ", BodyLength::Bytes(12)),
            ("Content-Length: 999999999999999999", BodyLength::Bytes(999_999_999_999_999_999)),
            ("Transfer-Encoding: Chunked", BodyLength::Chunked),
            ("Expect: 100-Continue\r\nContent-Length: 3", BodyLength::Bytes(3)),
            ("X: \u{e9}\t!", BodyLength::Bytes(0)),
            ("Upgrade: websocket", BodyLength::Bytes(0)),
        ] {
            assert_eq!(with(fields), Ok(body), "{fields}");
        }
        assert_eq!(read("GET http://h/%zz?a|b HTTP/1.0\r\n\r\nGET /"), Ok(BodyLength::Bytes(0)));
    }

    #[test]
    fn two_lengths_or_none_that_is_sure_are_refused() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\ncontent-length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +5",
            "Content-Length: -1",
            "Content-Length: 0x5",
            "Content-Length: 1 1",
            "Content-Length:",
            "Content-Length: 9999999999999999999",
        ] {
            assert_eq!(with(fields), Err(Flaw::Length), "{fields}");
        }
        for fields in [
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding:",
        ] {
            assert_eq!(with(fields), Err(Flaw::Encoding), "{fields}");
        }
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
        ] {
            assert_eq!(with(fields), Err(Flaw::LengthAndEncoding), "{fields}");
        }
        let old = read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old, Err(Flaw::Encoding));
        assert_eq!(with("Upgrade: x\r\nContent-Length: 1"), Err(Flaw::UpgradeWithBody));
    }

    #[test]
    fn what_is_not_as_the_rfc_has_it_is_refused() {
        for (fields, flaw) in [
            ("Transfer-Encoding : chunked", Flaw::Malformed),
            ("A: b\r\n folded", Flaw::Malformed),
            ("no colon", Flaw::Malformed),
            (": x", Flaw::Malformed),
            ("A\u{e9}: x", Flaw::Malformed),
            ("A: b\nX: y", Flaw::LineEnding),
            ("A: b\rX: y", Flaw::LineEnding),
            ("A: b\r\r\n", Flaw::LineEnding),
            ("A: b\0", Flaw::ControlByte),
            ("A: \u{1b}", Flaw::ControlByte),
            ("Host: b", Flaw::Host),
            ("Expect: a miracle", Flaw::Expectation),
        ] {
            assert_eq!(with(fields), Err(flaw), "{fields}");
        }
        for (line, flaw) in [
            ("GET  / HTTP/1.1", Flaw::Malformed),
            ("GET /\u{e9} HTTP/1.1", Flaw::Target),
            ("GET / HTTP/1.1 ", Flaw::Malformed),
            ("GET / HTTP/2.0", Flaw::Version),
            ("GET / http/1.1", Flaw::Version),
            ("G T / HTTP/1.1", Flaw::Version),
            ("CONNECT a:443 HTTP/1.1", Flaw::Connect),
            ("GET /", Flaw::Malformed),
        ] {
            let refused = read(&format!("{line}\r\nHost: a\r\n\r\n"));
            assert!(matches!(refused, Err(f) if f == flaw || f == Flaw::Malformed), "{line}: {refused:?}");
        }
        assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Err(Flaw::Host));
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_whole() {
        let scan = |text: &str| HeadScanner::default().scan(text.as_bytes(), &LIMITS);
        assert_eq!(scan(&format!("GET /{}", "x".repeat(200))), Err(Flaw::TargetTooLong));
        assert_eq!(scan(&format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(2000))), Err(Flaw::TooLarge));
        assert_eq!(scan(&format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(12))), Err(Flaw::TooLarge));
        assert_eq!(with("A: b\r\n".repeat(9).trim_end()), Ok(BodyLength::Bytes(0)));
        assert_eq!(with("A: b\r\n".repeat(10).trim_end()), Err(Flaw::TooLarge));
        let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(101));
        assert_eq!(read(&target), Err(Flaw::TargetTooLong));
    }

    proptest! {
        /// However the bytes come, the verdict is the same, and what passes is what httparse reads.
        #[test]
        fn pieces_make_no_difference(
            text in "(GET|POST) /[a-z]{0,5} HTTP/1.[01]\r\n([A-Za-z-]{1,8}:[ a-z0-9\r\n\t]{0,8}\r\n){0,4}\r\n",
            cuts in prop::collection::vec(1usize..9, 1..20),
        ) {
            let whole = HeadScanner::default().scan(text.as_bytes(), &LIMITS);
            let mut scanner = HeadScanner::default();
            let mut end = 0;
            let mut pieces = Ok(None);
            for cut in cuts.iter().cycle() {
                if end == text.len() || pieces != Ok(None) { break; }
                end = (end + cut).min(text.len());
                pieces = scanner.scan(&text.as_bytes()[..end], &LIMITS);
            }
            prop_assert_eq!(whole, pieces);
            if let Ok(Some(length)) = whole {
                let head = &text.as_bytes()[..length];
                prop_assert!(head.ends_with(b"\r\n\r\n") || head == b"\r\n");
                if check(head, &LIMITS).is_ok() {
                    let mut fields = [EMPTY_HEADER; 20];
                    prop_assert_eq!(Request::new(&mut fields).parse(head), Ok(Status::Complete(length)));
                }
            }
        }
    }
}
