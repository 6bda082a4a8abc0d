use std::io::Read;
use std::sync::Arc;

use super::*;

const POLICY: CompressionPolicy =
    CompressionPolicy { codings: Vec::new(), level: 1, min_bytes: 1024, memory_bytes: 512 * 1024 };

fn policy() -> CompressionPolicy {
    CompressionPolicy { codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip], ..POLICY }
}

fn fields(list: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        (name, HeaderValue::from_str(value).expect("a value"))
    };
    list.iter().map(field).collect()
}

fn decided(method: Method, request: &[(&str, &str)], status: u16, answer: &[(&str, &str)]) -> Decision {
    let request = fields(&[&[("accept-encoding", "gzip")], request].concat());
    let asked = Asked { method: &method, version: Version::HTTP_11, headers: &request };
    let status = StatusCode::from_u16(status).expect("a status");
    decide(&policy(), &asked, status, &fields(&[&[("content-type", "application/json")], answer].concat()))
}

#[test]
fn what_may_be_compressed_is() {
    let get = |answer: &[(&str, &str)]| decided(Method::GET, &[], 200, answer);
    let gzip = Decision::Compressed(Coding::Gzip);
    assert_eq!(get(&[]), gzip);
    assert_eq!(get(&[("content-length", "1024")]), gzip);
    assert_eq!(get(&[("content-encoding", "identity")]), gzip);
    assert_eq!(decided(Method::POST, &[], 422, &[]), gzip);
    assert_eq!(get(&[("content-length", "1023")]), Decision::AsItIs);
    let all = CompressionPolicy { min_bytes: 0, ..policy() };
    let (nothing, json) = (("content-length", "0"), ("content-type", "application/json"));
    let gzip_too = fields(&[("accept-encoding", "gzip")]);
    let asked = Asked { method: &Method::GET, version: Version::HTTP_11, headers: &gzip_too };
    assert_eq!(decide(&all, &asked, StatusCode::OK, &fields(&[nothing, json])), Decision::AsItIs);
    for (name, value) in [
        ("content-encoding", "br"),
        ("set-cookie", "a=b"),
        ("content-range", "bytes 0-1/2"),
        ("cache-control", "private, No-Transform"),
        ("content-digest", "sha-256=:x:"),
    ] {
        assert_eq!(get(&[(name, value)]), Decision::AsItIs, "{name}");
    }
    for status in [101, 204, 205, 206] {
        assert_eq!(decided(Method::GET, &[], status, &[]), Decision::AsItIs, "{status}");
    }
    assert_eq!(decided(Method::GET, &[("cache-control", "no-transform")], 200, &[]), Decision::AsItIs);
}

#[test]
fn an_answer_that_another_client_gets_compressed_varies() {
    assert_eq!(decided(Method::HEAD, &[], 200, &[]), Decision::Varies);
    assert_eq!(decided(Method::GET, &[], 304, &[]), Decision::Varies);
    let none = HeaderMap::new();
    let json = fields(&[("content-type", "application/problem+json")]);
    let plain = Asked { method: &Method::GET, version: Version::HTTP_2, headers: &none };
    assert_eq!(decide(&policy(), &plain, StatusCode::OK, &json), Decision::Varies);
    let gzip = fields(&[("accept-encoding", "gzip")]);
    let old = Asked { method: &Method::GET, version: Version::HTTP_10, headers: &gzip };
    assert_eq!(decide(&policy(), &old, StatusCode::OK, &json), Decision::Varies);
    assert!(varies(&fields(&[("vary", "origin"), ("vary", "a, Accept-Encoding")])));
    assert!(varies(&fields(&[("vary", "*")])) && !varies(&fields(&[("vary", "accept")])));
}

#[test]
fn media_types_that_become_shorter_are_known() {
    for (text, expected) in [
        ("text/html; charset=utf-8", true),
        ("Application/JSON", true),
        ("application/problem+json", true),
        ("image/svg+xml", true),
        ("application/wasm", true),
        ("text/event-stream", false),
        ("image/png", false),
        ("application/octet-stream", false),
        ("text", false),
    ] {
        assert_eq!(is_compressible(&HeaderValue::from_static(text)), expected, "{text}");
    }
}

#[test]
fn a_validator_is_weakened_once() {
    let weak = weakened(&HeaderValue::from_static("\"a\"")).expect("a value");
    assert_eq!(weak, "W/\"a\"");
    assert_eq!(weakened(&weak), None);
}

/// What a client makes of it, as far as it has come, and whether it takes it for the whole.
fn decoded(coding: Coding, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut reader: Box<dyn Read + '_> = match coding {
        Coding::Brotli => Box::new(brotli::Decompressor::new(bytes, 4096)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).expect("a decoder")),
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
    };
    let mut text = Vec::new();
    let is_whole = reader.read_to_end(&mut text).is_ok();
    (text, is_whole)
}

#[test]
fn what_was_given_can_be_read_at_once_and_all_of_it_in_the_end() {
    let pieces = ["a".repeat(100_000), "b".to_owned(), String::new(), "tail".repeat(9)];
    for coding in Coding::ALL {
        for level in 1..=3 {
            let policy = CompressionPolicy { level, memory_bytes: 2 << 20, ..policy() };
            let mut encoder = Arc::<Encoders>::default().open(&policy, coding).expect("room");
            let (mut sent, mut given) = (Vec::new(), String::new());
            for piece in &pieces {
                given.push_str(piece);
                sent.extend(encoder.encode(piece.as_bytes(), false).expect("encoded"));
                assert!(decoded(coding, &sent) == (given.clone().into_bytes(), false), "{coding:?} {level}");
            }
            sent.extend(encoder.encode(b"end", true).expect("encoded"));
            assert!(
                decoded(coding, &sent) == (format!("{given}end").into_bytes(), true),
                "{coding:?} {level}"
            );
            assert!(sent.len() < given.len() / 10);
            assert!(encoder.encode(b"more", true).expect("nothing").is_empty());
        }
    }
}

#[test]
fn encoders_together_have_a_bound_and_leave_their_room_when_they_end() {
    let encoders = Arc::<Encoders>::default();
    let first = encoders.open(&policy(), Coding::Gzip).expect("room");
    let second = encoders.open(&policy(), Coding::Zstd).expect("room");
    assert!(encoders.open(&policy(), Coding::Zstd).is_none());
    assert_eq!(encoders.taken_bytes(), 500 * 1024);
    drop((first, second));
    assert_eq!(encoders.taken_bytes(), 0);
    assert!(encoders.compress(&policy(), Coding::Brotli, &[b'x'; 4096]).expect("room").len() < 100);
    assert_eq!(encoders.taken_bytes(), 0);
}
