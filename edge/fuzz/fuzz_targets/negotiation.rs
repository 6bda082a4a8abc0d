//! `Accept-Encoding` and `Range`: the same under a slow, independent reading of RFC 9110, sections 12.5.3 and 14.1.

#![no_main]

use edge::compression::{Accepted, Chosen};
use edge::config::Coding;
use edge::files::range::{Part, part};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

/// The length of the file, then a line of what is accepted, and one of what is asked for.
fuzz_target!(|data: &[u8]| {
    let [length, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (accepted, range) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(value) = HeaderValue::from_str(accepted) {
        is_the_best_that_is_accepted(&value, *length);
    }
    if let Ok(value) = HeaderValue::from_str(range) {
        is_what_was_asked_for(&value, u64::from(*length % 48));
    }
});

fn is_the_best_that_is_accepted(value: &HeaderValue, offered: u8) {
    let offered: Vec<Coding> =
        Coding::ALL.into_iter().filter(|coding| offered & (1 << *coding as u8) != 0).collect();
    let chosen = Accepted::of(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.clone())]))
        .choose(offered.iter().copied());
    let words = value.to_str().map(words).unwrap_or_default();
    let said = |name: &str| words.iter().find(|(known, _)| known == name).map(|(_, weight)| *weight);
    let refused_by_star = said("*") == Some(0.0);
    // What isn't named is liked least, unless it is refused.
    let identity = said("identity").unwrap_or(if refused_by_star { 0.0 } else { 0.001 });
    let weight = |coding: &Coding| said(coding.token()).or(said("*")).unwrap_or(0.0);
    let most = offered.iter().map(weight).fold(0.0, f64::max);
    match chosen {
        Chosen::Coded(coding) => {
            assert!(most > 0.0 && most >= identity && weight(&coding) == most, "{value:?}");
            assert_eq!(offered.iter().find(|coding| weight(coding) == most), Some(&coding), "{value:?}");
        }
        Chosen::Identity => assert!(identity > 0.0 && identity >= most, "{value:?}"),
        Chosen::Nothing => assert!(identity == 0.0 && most == 0.0, "{value:?}"),
    }
}

/// Names in lower case with their weights, as far as they are well formed.
fn words(text: &str) -> Vec<(String, f64)> {
    let mut words = Vec::new();
    for element in text.to_ascii_lowercase().split(',') {
        let mut halves = element.splitn(2, ';');
        let name = halves.next().unwrap_or_default().trim();
        let name = if name == "x-gzip" { "gzip" } else { name };
        let weight = match halves.next() {
            None => Some(1.0),
            Some(parameter) => parameter
                .trim()
                .strip_prefix("q=")
                .filter(|text| is_weight(text))
                .and_then(|text| text.parse().ok()),
        };
        words.extend(weight.map(|weight| (name.to_owned(), weight)));
    }
    words
}

/// `0[.ddd]` or `1[.000]`.
fn is_weight(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |byte: &u8| if bytes[0] == b'0' { byte.is_ascii_digit() } else { *byte == b'0' };
    match bytes {
        [b'0' | b'1'] => true,
        [b'0' | b'1', b'.', digits @ ..] => digits.len() <= 3 && digits.iter().all(is_digit),
        _ => false,
    }
}

fn is_what_was_asked_for(value: &HeaderValue, length: u64) {
    let found = part(&HeaderMap::from_iter([(header::RANGE, value.clone())]), length);
    let specs = value.to_str().ok().and_then(specs);
    let expected = match specs.as_deref() {
        None | Some([]) => Part::Whole,
        Some(specs) => {
            let bytes = |spec: &Spec| (0..length).filter(|byte| spec.has(*byte, length)).collect::<Vec<_>>();
            match specs {
                // Of an empty file its end is all of it.
                _ if specs.iter().all(|spec| bytes(spec).is_empty() && !spec.is_end_of_nothing(length)) => {
                    Part::Unsatisfiable
                }
                [only] => match (bytes(only).first(), bytes(only).last()) {
                    (Some(first), Some(last)) => Part::Bytes(*first..last + 1),
                    _ => Part::Whole,
                },
                _ => Part::Whole,
            }
        }
    };
    assert_eq!(found, expected, "{value:?} of {length}");
}

struct Spec {
    first: Option<u128>,
    last: Option<u128>,
}

impl Spec {
    fn has(&self, byte: u64, length: u64) -> bool {
        match (self.first, self.last) {
            (Some(first), last) => (first..=last.unwrap_or(u128::MAX)).contains(&u128::from(byte)),
            (None, Some(suffix)) => u128::from(length - byte) <= suffix,
            (None, None) => false,
        }
    }

    fn is_end_of_nothing(&self, length: u64) -> bool {
        length == 0 && self.first.is_none() && self.last > Some(0)
    }
}

fn specs(text: &str) -> Option<Vec<Spec>> {
    let (unit, set) = text.split_at_checked(6)?;
    if unit.to_ascii_lowercase() != "bytes=" {
        return None;
    }
    let members = set.split(',').map(|spec| spec.trim_matches(|c| c == ' ' || c == '\t'));
    members.filter(|spec| !spec.is_empty()).map(spec).collect()
}

fn spec(text: &str) -> Option<Spec> {
    let dash = text.find('-')?;
    let number = |digits: &str| match digits {
        "" => Some(None),
        _ if digits.chars().all(|c| c.is_ascii_digit()) => Some(Some(digits.parse().unwrap_or(u128::MAX))),
        _ => None,
    };
    let (first, last) = (number(&text[..dash])?, number(&text[dash + 1..])?);
    // Beyond what a number of ours can be, digit by digit.
    let width = text.len();
    let is_turned = first.is_some()
        && last.is_some()
        && format!("{:0>width$}", &text[..dash]) > format!("{:0>width$}", &text[dash + 1..]);
    ((first.is_some() || last.is_some()) && !is_turned).then_some(Spec { first, last })
}
