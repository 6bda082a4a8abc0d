//! `Range` (RFC 9110, section 14): which bytes of a file are asked for.

use std::ops::Range;

use http::{HeaderMap, header};

/// Which bytes a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All: none were asked for, what was asked isn't well formed, or it was several parts, which a server may answer
    /// with the whole (section 14.2).
    Whole,
    /// These; never empty, and within the length.
    Bytes(Range<u64>),
    /// None of those that were asked for is there.
    Unsatisfiable,
}

/// The part that a request's fields ask for of so many bytes.
pub fn part(headers: &HeaderMap, length: u64) -> Part {
    let mut values = headers.get_all(header::RANGE).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(text), None) => parse(text, length).unwrap_or(Part::Whole),
        _ => Part::Whole,
    }
}

/// `None` where it isn't well formed.
fn parse(text: &str, length: u64) -> Option<Part> {
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (mut count, mut found) = (0_usize, None);
    // A list's members may have blanks around them, and may be missing.
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        count += 1;
        found = one(spec, length)?.or(found);
    }
    Some(match (count, found) {
        (0, _) => return None,
        (_, None) => Part::Unsatisfiable,
        (1, Some(range)) if !range.is_empty() => Part::Bytes(range),
        (_, Some(_)) => Part::Whole,
    })
}

/// What one member of the set comes to; `Some(None)` where nothing of it is there.
fn one(spec: &str, length: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        // Nothing comes before the end of an empty file, but all of it is asked for.
        return Some((suffix > 0).then(|| length.saturating_sub(suffix)..length));
    }
    // What we can't say any more is still turned around, or not.
    if !last.is_empty() && size(first) > size(last) {
        return None;
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    Some((first < length).then(|| first..last.saturating_add(1).min(length)))
}

/// Orders digits as the numbers that they are.
fn size(digits: &str) -> (usize, &str) {
    let digits = digits.trim_start_matches('0');
    (digits.len(), digits)
}

/// A number of any size; no file is longer than the longest that we can say.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn asked(text: &str, length: u64) -> Part {
        let value = HeaderValue::from_str(text).expect("a value");
        part(&HeaderMap::from_iter([(header::RANGE, value)]), length)
    }

    #[test]
    fn one_range_is_a_part() {
        for (text, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-4", 2..5),
            ("bytes=2-", 2..10),
            ("bytes=2-99", 2..10),
            ("bytes=2-99999999999999999999999", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("Bytes=, 1-2 ,", 1..3),
        ] {
            assert_eq!(asked(text, 10), Part::Bytes(range), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_unsatisfiable() {
        for text in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=10-,11-", "bytes=99999999999999999999-"] {
            assert_eq!(asked(text, 10), Part::Unsatisfiable, "{text}");
        }
        assert_eq!(asked("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(asked("bytes=-1", 0), Part::Whole);
    }

    #[test]
    fn several_ranges_and_what_is_not_well_formed_mean_the_whole() {
        for text in [
            "bytes=0-1,3-4",
            "bytes=0-1,99-",
            "bytes=4-2",
            "bytes=99999999999999999999999-99999999999999999999998",
            "bytes=a-b",
            "bytes=1",
            "bytes=",
            "bytes=-",
            "bytes=,",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes 1-2",
            "lines=1-2",
            "bytes=0-1,x",
            "bytes=0x1-2",
            "",
        ] {
            assert_eq!(asked(text, 10), Part::Whole, "{text}");
        }
        let twice = HeaderValue::from_static("bytes=0-1");
        let twice = HeaderMap::from_iter([(header::RANGE, twice.clone()), (header::RANGE, twice)]);
        assert_eq!(part(&twice, 10), Part::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_file(text in "(bytes=)?[0-9, x-]{0,12}", length in 0..30_u64) {
            if let Part::Bytes(range) = asked(&text, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }

        #[test]
        fn a_range_is_the_bytes_that_it_names(first in 0..40_u64, more in 0..40_u64, length in 0..40_u64) {
            let last = first + more;
            let expected: Vec<u64> = (first..=last).filter(|byte| *byte < length).collect();
            match asked(&format!("bytes={first}-{last}"), length) {
                Part::Bytes(range) => prop_assert_eq!(range.collect::<Vec<_>>(), expected),
                Part::Unsatisfiable => prop_assert!(expected.is_empty()),
                Part::Whole => prop_assert!(false),
            }
        }
    }
}
