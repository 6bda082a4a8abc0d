//! Paths: what is refused, what is made canonical, and which bytes reach the backend.

use std::borrow::Cow;

use edge::nginx::About;

use super::case::{Area, Case, get};

const TRICKS: &[Case] = &[
    get("//d//x", "200 backend"),
    get("/d/./x/../y", "200 backend"),
    get("/d/%2e%2E/d/x", "200 backend"),
    get("/d/x/..", "200 backend"),
    get("/d/x/.", "200 backend"),
    get("/d/%", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/%4", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/%zz", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/a;b", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/a;/../x", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/%2525", "200 backend"),
    get("/d?", "200 backend"),
    get("/d?a=/../b;c", "200 backend"),
    get("/d/x?a=%2f%zz&b=//..", "200 backend"),
    get("/d/%00", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/a%5cb", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/a%2Fb", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/..%2fadmin", "400 bad-request").unlike(About::Problems, DETAIL),
    get("/d/%ff", "200 backend"),
    get("/d/%EA%B0%80", "200 backend"),
    get("/../d/x", "200 backend").nginx(About::ClimbingPaths, "400 bad-request"),
    get("/d/../../d/x", "200 backend").nginx(About::ClimbingPaths, "400 bad-request"),
    get("//d/a%3Db", "200 backend").nginx(About::EncodedDetours, "400 bad-request"),
    get("/d/%61%2C", "200 backend").nginx(About::EncodedDetours, "400 bad-request"),
];

/// nginx has one word for all that is wrong with a path.
const DETAIL: &[&str] = &["body detail"];
/// Encoded bytes that nginx would lose in a path that it has to spell anew.
const LOST: &[u8] = b"!$&'()*+,:;=@[]";

pub(crate) fn area() -> Area {
    let mut cases = TRICKS.to_vec();
    for byte in 0..=255_u8 {
        let verdict = match byte {
            0..=0x1f | 0x7f | b'/' | b'\\' => "400 bad-request",
            _ => "200 backend",
        };
        let upper = format!("/d/a%{byte:02X}b");
        let lower = format!("/d/a%{byte:02x}b/c?d=%{byte:02x}");
        let is_respelled = !lower.contains(&format!("a%{byte:02X}b"));
        for (target, is_lost) in [(upper, false), (lower, is_respelled && LOST.contains(&byte))] {
            let case = Case { target: Cow::Owned(target), ..get("", verdict) };
            cases.push(match (is_lost, verdict) {
                (true, _) => case.nginx(About::EncodedDetours, "400 bad-request"),
                (false, "400 bad-request") => case.unlike(About::Problems, DETAIL),
                (false, _) => case,
            });
        }
    }
    for byte in (0x21..0x7f_u8).filter(|byte| !b"?#/%.".contains(byte)) {
        let case =
            |verdict| Case { target: Cow::Owned(format!("/d/a{}b", byte as char)), ..get("", verdict) };
        cases.push(match byte {
            _ if byte.is_ascii_alphanumeric() || b"-_~:@!$&'()*+,=".contains(&byte) => case("200 backend"),
            // What Pingora can't read it refuses without a word.
            b'<' | b'>' | b'`' => case("400").nginx(About::Framing, "400 bad-request"),
            _ => case("400 bad-request").unlike(About::Problems, DETAIL),
        });
    }
    Area { name: "paths", cases }
}
