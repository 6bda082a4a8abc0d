//! A header has one meaning, or it is refused: however it comes, and whoever reads it.

#![no_main]

use edge::door::head::{BodyLength, Flaw, HeadLimits, HeadScanner, check};
use edge::target::{authority, raw_path};
use http::{HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Request, Status};
use libfuzzer_sys::fuzz_target;
use pingora::http::RequestHeader;

const SMALL: HeadLimits = HeadLimits { bytes: 300, target_bytes: 40, fields: 5 };
const SHIPPED: HeadLimits = HeadLimits { bytes: 32768, target_bytes: 8192, fields: 80 };

fuzz_target!(|data: &[u8]| {
    // How it is cut and which limits hold, then what came.
    let [cuts, stream @ ..] = data else { return };
    let limits = if cuts % 4 == 0 { SMALL } else { SHIPPED };
    let verdict = HeadScanner::default().scan(stream, &limits);
    assert_eq!(verdict, in_pieces(stream, &limits, *cuts), "pieces make a difference");
    let _ = check(stream, &limits);
    if let Ok(Some(length)) = verdict {
        let head = &stream[..length];
        assert_eq!(
            HeadScanner::default().scan(head, &limits),
            Ok(Some(length)),
            "what follows makes a difference"
        );
        is_one_header(head, &limits);
        if let Ok(body) = check(head, &limits) {
            has_one_meaning(head, body, &limits);
            is_the_same_to_others(head);
        }
    }
});

fn in_pieces(stream: &[u8], limits: &HeadLimits, cuts: u8) -> Result<Option<usize>, Flaw> {
    let mut scanner = HeadScanner::default();
    let (mut end, mut step) = (0, u32::from(cuts));
    while end < stream.len() {
        step = step.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        end = (end + (step >> 28) as usize).min(stream.len());
        match scanner.scan(&stream[..end], limits) {
            Ok(None) => {}
            verdict => return verdict,
        }
    }
    Ok(None)
}

/// Lines that end in CR LF, the last of them empty and no other; no other control but tabs.
fn is_one_header(head: &[u8], limits: &HeadLimits) {
    assert!(head.len() <= limits.bytes);
    let text: String = head.iter().copied().map(char::from).collect();
    let lines: Vec<&str> = text.split("\r\n").collect();
    let [fields @ .., last, rest] = &*lines else { panic!("no line") };
    assert!(last.is_empty() && rest.is_empty() && fields.iter().all(|line| !line.is_empty()));
    assert!(fields.len() <= limits.fields + 1);
    assert!(lines.iter().all(|line| line.chars().all(|c| c == '\t' || !c.is_ascii_control())));
}

/// Read by the letter of RFC 9112: a request line of three words, fields of a token and a value, one Host, and one
/// length at most.
fn has_one_meaning(head: &[u8], body: BodyLength, limits: &HeadLimits) {
    let mut lines = head.strip_suffix(b"\r\n\r\n").expect("whole").split(|byte| *byte == b'\n');
    let request_line = lines.next().expect("a line");
    let words: Vec<&[u8]> = request_line.trim_ascii_end().split(|byte| *byte == b' ').collect();
    let [method, target, version] = *words else { panic!("{words:?}") };
    assert!(is_token(method) && method != b"CONNECT");
    assert!(!target.is_empty() && target.len() <= limits.target_bytes);
    assert!(target.iter().all(u8::is_ascii_graphic));
    assert!(matches!(version, b"HTTP/1.0" | b"HTTP/1.1"));
    let fields: Vec<(String, &[u8])> =
        lines.map(|line| field(line.strip_suffix(b"\r").unwrap_or(line))).collect();
    let values = |name: &str| -> Vec<&[u8]> {
        fields.iter().filter(|field| field.0 == name).map(|field| field.1).collect()
    };
    let (hosts, lengths, encodings) = (values("host"), values("content-length"), values("transfer-encoding"));
    assert!(hosts.len() == 1 || (hosts.is_empty() && version == b"HTTP/1.0"));
    match (&*lengths, &*encodings, body) {
        ([], [], BodyLength::Bytes(0)) => {}
        ([length], [], BodyLength::Bytes(bytes)) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            assert_eq!(std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()), Some(bytes));
        }
        ([], [encoding], BodyLength::Chunked) => {
            assert!(encoding.eq_ignore_ascii_case(b"chunked") && version == b"HTTP/1.1");
        }
        lengths => panic!("{lengths:?}"),
    }
    assert!(values("upgrade").is_empty() || body == BodyLength::Bytes(0));
    assert!(values("expect").iter().all(|value| value.eq_ignore_ascii_case(b"100-continue")));
}

fn field(line: &[u8]) -> (String, &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    assert!(is_token(name), "{line:?}");
    (String::from_utf8_lossy(name).to_ascii_lowercase(), value)
}

/// RFC 9110, section 5.6.2.
fn is_token(word: &[u8]) -> bool {
    !word.is_empty()
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Whoever reads it next reads the same: httparse its length and its fields, Pingora's types take each.
fn is_the_same_to_others(head: &[u8]) {
    let mut fields = [EMPTY_HEADER; 100];
    let mut request = Request::new(&mut fields);
    assert_eq!(request.parse(head), Ok(Status::Complete(head.len())));
    let (method, target) = (request.method.expect("a method"), request.path.expect("a target"));
    let Ok(mut header) = RequestHeader::build(method, target.as_bytes(), None) else { return };
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    for parsed in request.headers.iter() {
        let (name, value) = field(lines.next().expect("a line"));
        assert!(parsed.name.eq_ignore_ascii_case(&name) && parsed.value.trim_ascii() == value);
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        header.append_header(name, HeaderValue::from_bytes(value).expect("a value")).expect("a field");
    }
    assert_eq!(lines.next(), Some(&b"\r"[..]), "as many fields");
    let _ = (authority(&header), raw_path(&header));
}
