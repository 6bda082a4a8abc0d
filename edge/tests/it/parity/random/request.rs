//! Requests at random, near the paths of a policy, with the tricks by which filters have been got around.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge::nginx::About;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::policy::METHODS;

#[derive(Clone, Debug)]
pub(super) struct Request {
    last: u8,
    method: &'static str,
    host: &'static str,
    path: Index,
    filling: &'static str,
    tricks: Vec<(Trick, Index)>,
    query: &'static str,
    token: &'static str,
    origin: &'static str,
    body: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Trick {
    DoubleSlash,
    Dot,
    Detour,
    Climb,
    TrailingSlash,
    Longer,
    Shorter,
    EncodedUpper,
    EncodedLower,
    EncodedSlash,
    EncodedDots,
    EncodedComma,
    Backslash,
    Semicolon,
    Null,
    OtherCase,
    BadEncoding,
}

const TRICKS: [Trick; 17] = [
    Trick::DoubleSlash,
    Trick::Dot,
    Trick::Detour,
    Trick::Climb,
    Trick::TrailingSlash,
    Trick::Longer,
    Trick::Shorter,
    Trick::EncodedUpper,
    Trick::EncodedLower,
    Trick::EncodedSlash,
    Trick::EncodedDots,
    Trick::EncodedComma,
    Trick::Backslash,
    Trick::Semicolon,
    Trick::Null,
    Trick::OtherCase,
    Trick::BadEncoding,
];

const TOKENS: [&str; 12] = [
    "",
    "",
    "",
    "{user}",
    "{user}",
    "{vendor}",
    "{admin}",
    "{mallory}",
    "{spaced}",
    "{forged}",
    "{expired}",
    "{revoked}",
];

const ORIGINS: [&str; 8] = [
    "",
    "",
    "",
    "",
    "Origin: https://shop.example\r\n",
    "Origin: https://evil.example\r\n",
    "Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\n",
    "Origin: https://shop.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: x-a\r\n",
];

pub(super) fn requests(count: usize) -> impl Strategy<Value = Vec<Request>> {
    let methods: Vec<&str> = METHODS.into_iter().chain(["GET", "GET", "GET", "HEAD", "BREW"]).collect();
    let hosts = vec!["a.example", "b.example", "localhost", "A.example:8443", "[::1]", "c.example"];
    let request = (
        // 0 stands for ::1.
        0..5_u8,
        select(methods),
        select(hosts),
        any::<Index>(),
        select(vec!["a", "b", "7", "x.b", ".b", "a%20b"]),
        prop_oneof![
            2 => Just(Vec::new()),
            3 => prop::collection::vec((select(&TRICKS[..]), any::<Index>()), 1..3),
        ],
        select(vec!["", "", "", "", "?q=//..", "?access_token=x", "?a=%61ccess_token", "?access%5Ftoken"]),
        select(&TOKENS[..]),
        select(&ORIGINS[..]),
        select(vec!["", "", "", "abc", "abcd"]),
    );
    let request =
        request.prop_map(|(last, method, host, path, filling, tricks, query, token, origin, body)| Request {
            last,
            method,
            host,
            path,
            filling,
            tricks,
            query,
            token,
            origin,
            body,
        });
    prop::collection::vec(request, count)
}

impl Request {
    pub(super) fn from(&self) -> IpAddr {
        match self.last {
            0 => Ipv6Addr::LOCALHOST.into(),
            // The first of them is where the harness has waited from, and spent of limits.
            last => Ipv4Addr::new(127, 0, 1, last).into(),
        }
    }

    /// What is sent; tokens stand there by their names.
    pub(super) fn text(&self, paths: &[String]) -> String {
        let token = match self.token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let length = match self.body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{token}{}{length}\r\n{}",
            self.method,
            self.target(paths),
            self.host,
            self.origin,
            self.body
        )
    }

    fn target(&self, paths: &[String]) -> String {
        let mut target = match paths.is_empty() {
            true => "/".to_owned(),
            false => self.path.get(paths).clone(),
        };
        while let (Some(open), Some(close)) = (target.find('{'), target.find('}')) {
            target.replace_range(open..=close, self.filling);
        }
        for (trick, place) in &self.tricks {
            target = trick.apply(&target, *place);
        }
        target + self.query
    }

    /// By which name nginx may refuse it though the edge doesn't.
    pub(super) fn may_differ(&self, paths: &[String]) -> Option<About> {
        let target = self.target(paths);
        let raw = target.split('?').next().unwrap_or_default();
        let decoded = target.replace("%2e", ".").replace("%2E", ".");
        let path = decoded.split('?').next().unwrap_or_default();
        let mut depth = 0_i32;
        for segment in path.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
            depth += if segment == ".." { -1 } else { 1 };
            if depth < 0 {
                return Some(About::ClimbingPaths);
            }
        }
        (path.to_ascii_uppercase().contains("%2C") && has_detour(raw)).then_some(About::EncodedDetours)
    }
}

impl Request {
    /// By which name nginx may refuse with 400 what the edge answers so.
    pub(super) fn may_be_refused(&self, paths: &[String], verdict: &str) -> Option<About> {
        let target = self.target(paths);
        let path = target.split('?').next().unwrap_or_default();
        match verdict {
            // How was the path spelled that a redirect keeps?
            "308" if path.contains('%') && has_detour(path) => Some(About::EncodedDetours),
            // Paths that can't be decoded.
            "421" | "421 unknown-host" if path.contains('%') || !path.starts_with('/') => {
                Some(About::Framing)
            }
            _ => None,
        }
    }
}

/// Whether a path has to be spelled anew: dots, double slashes, an encoded letter, a lower-case encoding.
fn has_detour(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (last, inner) = segments.split_last().map_or(("", &[][..]), |(last, inner)| (*last, inner));
    let encoded = path.match_indices('%').any(|(at, _)| {
        let digits = path.get(at + 1..at + 3).unwrap_or_default();
        let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || digits != digits.to_ascii_uppercase()
    });
    encoded || [".", ".."].contains(&last) || inner.iter().any(|segment| ["", ".", ".."].contains(segment))
}

impl Trick {
    fn apply(self, path: &str, place: Index) -> String {
        let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        let plain: Vec<usize> =
            (0..path.len()).filter(|at| path.as_bytes()[*at].is_ascii_alphanumeric()).collect();
        let slash = if slashes.is_empty() { 0 } else { *place.get(&slashes) };
        let insert = |text: &str| format!("{}{text}{}", &path[..slash], &path[slash..]);
        let replace = |text: &dyn Fn(u8) -> String| match plain.is_empty() {
            true => path.to_owned(),
            false => {
                let at = *place.get(&plain);
                format!("{}{}{}", &path[..at], text(path.as_bytes()[at]), &path[at + 1..])
            }
        };
        match self {
            Self::DoubleSlash => insert("/"),
            Self::Dot => insert("/."),
            Self::Detour => insert("/q/.."),
            Self::Climb => format!("{path}/.."),
            Self::TrailingSlash => format!("{path}/"),
            Self::Longer => format!("{path}/a"),
            Self::Shorter if slash > 0 => path[..slash].to_owned(),
            Self::Shorter => "/".to_owned(),
            Self::EncodedUpper => replace(&|byte| format!("%{byte:02X}")),
            Self::EncodedLower => replace(&|byte| format!("%{byte:02x}")),
            Self::EncodedSlash => {
                format!("{}%2f{}", &path[..slash], path.get(slash + 1..).unwrap_or_default())
            }
            Self::EncodedDots => format!("{path}/%2e%2E"),
            Self::EncodedComma => format!("{path}%2C"),
            Self::Backslash => format!("{path}\\a"),
            Self::Semicolon => format!("{path};a=b"),
            Self::Null => format!("{path}%00"),
            Self::OtherCase => replace(&|byte| {
                char::from(byte ^ if byte.is_ascii_alphabetic() { 32 } else { 0 }).to_string()
            }),
            Self::BadEncoding => format!("{path}%4"),
        }
    }
}
