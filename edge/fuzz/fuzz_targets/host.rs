//! Which host an authority names, and which of two names of a request counts.

#![no_main]

use edge::redirect::host_name;
use edge::target::authority;
use http::{HeaderValue, Uri, header};
use libfuzzer_sys::fuzz_target;
use pingora::http::RequestHeader;

fuzz_target!(|text: &str| {
    let (host, other) = text.split_once('\n').unwrap_or((text, ""));
    is_a_name_without_its_port(host);
    one_name_counts(host, other);
});

fn is_a_name_without_its_port(text: &str) {
    let name = host_name(text);
    let port = text.strip_prefix(name).expect("a prefix");
    if !port.is_empty() {
        let digits = port.strip_prefix(':').expect("a port follows its colon");
        assert!(!digits.contains([':', ']']), "{text:?}");
    }
    if let Some(host) = by_the_book(text) {
        assert_eq!(name, host, "{text:?}");
    }
}

/// The host of what is an authority by RFC 3986, section 3.2, without its userinfo.
fn by_the_book(text: &str) -> Option<&str> {
    let end = match text.strip_prefix('[') {
        Some(literal) => literal.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let digits = if port.is_empty() { port } else { port.strip_prefix(':')? };
    digits.bytes().all(|digit| digit.is_ascii_digit()).then_some(host)
}

/// A request that names a host in its target and another in its field, or two in fields, is for nobody.
fn one_name_counts(host: &str, other: &str) {
    let Ok(mut request) = RequestHeader::build("GET", b"/", None) else { return };
    let Ok(value) = HeaderValue::from_str(host) else { return };
    request.append_header(header::HOST, value).expect("a field");
    assert_eq!(authority(&request).ok(), value_of(&request), "{host:?}");
    let Ok(uri) = Uri::builder().scheme("https").authority(other).path_and_query("/").build() else { return };
    request.set_uri(uri);
    match authority(&request) {
        Ok(name) => assert!(name == host && name.eq_ignore_ascii_case(other), "{host:?} {other:?}"),
        Err(_) => assert!(value_of(&request).is_none() || !host.eq_ignore_ascii_case(other)),
    }
    request.append_header(header::HOST, HeaderValue::from_static("localhost")).expect("a field");
    assert!(authority(&request).is_err(), "two Host fields");
    request.remove_header(&header::HOST);
    assert_eq!(authority(&request).ok(), Some(other));
}

fn value_of(request: &RequestHeader) -> Option<&str> {
    request.headers.get(header::HOST)?.to_str().ok()
}
