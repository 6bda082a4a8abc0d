//! Conditions of a request (RFC 9110, section 13), in the order of section 13.2.2.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What of a file conditions are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    /// Strong.
    pub(super) etag: &'a HeaderValue,
    /// In whole seconds.
    pub(super) modified: Option<SystemTime>,
}

/// What the conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The request is answered as if it had none.
    All,
    /// The client has it already: 304.
    NotModified,
    /// The client means another: 412.
    Failed,
}

/// Of GET and HEAD.
pub(super) fn check(headers: &HeaderMap, file: Validators<'_>) -> Met {
    let is_wanted = match if_match(headers, file) {
        Some(is_match) => is_match,
        None => date(headers, &header::IF_UNMODIFIED_SINCE)
            .zip(file.modified)
            .is_none_or(|(since, modified)| modified <= since),
    };
    if !is_wanted {
        return Met::Failed;
    }
    let is_known = match if_none_match(headers, file) {
        Some(is_match) => is_match,
        None => date(headers, &header::IF_MODIFIED_SINCE)
            .zip(file.modified)
            .is_some_and(|(since, modified)| modified <= since),
    };
    if is_known { Met::NotModified } else { Met::All }
}

/// Whether a part may be sent: the client has the rest of this very file (section 13.1.5). A date is as good as a tag only
/// if the file can't have changed within its second.
pub(super) fn may_send_part(headers: &HeaderMap, file: Validators<'_>, now: SystemTime) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) if value == file.etag => true,
        (Some(value), None) => parse(value)
            .zip(file.modified)
            .is_some_and(|(known, modified)| known == modified && now >= modified + Duration::from_secs(2)),
        (Some(_), Some(_)) => false,
    }
}

/// Compared strongly: a weak tag is never the same.
fn if_match(headers: &HeaderMap, file: Validators<'_>) -> Option<bool> {
    any_tag(headers, &header::IF_MATCH, |tag| tag == file.etag.as_bytes())
}

/// Compared weakly.
fn if_none_match(headers: &HeaderMap, file: Validators<'_>) -> Option<bool> {
    let same = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag) == file.etag.as_bytes();
    any_tag(headers, &header::IF_NONE_MATCH, same)
}

/// `None` where the field isn't there. Our tags have no comma in them, so what a list is split into is either one of ours
/// or none.
fn any_tag(headers: &HeaderMap, name: &HeaderName, is_ours: impl Fn(&[u8]) -> bool) -> Option<bool> {
    headers.contains_key(name).then(|| {
        let values = headers.get_all(name).iter();
        let mut tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tags.any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || is_ours(tag)
        })
    })
}

/// A date that isn't one, and a field that is there twice, say nothing.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => parse(value),
        _ => None,
    }
}

fn parse(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn with<T>(fields: &[(HeaderName, &str)], ask: impl FnOnce(&HeaderMap, Validators<'_>) -> T) -> T {
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        let headers = fields.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        let etag = HeaderValue::from_static("\"a\"");
        let modified = UNIX_EPOCH + Duration::from_secs(784_111_777);
        ask(&headers, Validators { etag: &etag, modified: Some(modified) })
    }

    #[test]
    fn each_condition_says_what_it_is_for() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        for (name, value, expected) in [
            (IF_NONE_MATCH, "\"a\"", Met::NotModified),
            (IF_NONE_MATCH, "\"x\", W/\"a\"", Met::NotModified),
            (IF_NONE_MATCH, "*", Met::NotModified),
            (IF_NONE_MATCH, "\"b\"", Met::All),
            (IF_NONE_MATCH, "", Met::All),
            (IF_MATCH, "\"b\" , \"a\"", Met::All),
            (IF_MATCH, "*", Met::All),
            (IF_MATCH, "W/\"a\"", Met::Failed),
            (IF_MATCH, "\"b\"", Met::Failed),
            (IF_MODIFIED_SINCE, THEN, Met::NotModified),
            (IF_MODIFIED_SINCE, AFTER, Met::NotModified),
            (IF_MODIFIED_SINCE, BEFORE, Met::All),
            (IF_MODIFIED_SINCE, "yesterday", Met::All),
            (IF_UNMODIFIED_SINCE, THEN, Met::All),
            (IF_UNMODIFIED_SINCE, BEFORE, Met::Failed),
            (IF_UNMODIFIED_SINCE, "yesterday", Met::All),
        ] {
            assert_eq!(with(&[(name.clone(), value)], check), expected, "{name}: {value}");
        }
    }

    #[test]
    fn tags_come_before_dates_and_what_is_wanted_before_what_is_known() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        for (fields, expected) in [
            ([(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, AFTER)], Met::All),
            ([(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, BEFORE)], Met::NotModified),
            ([(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, BEFORE)], Met::All),
            ([(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Met::Failed),
            ([(IF_UNMODIFIED_SINCE, BEFORE), (IF_NONE_MATCH, "\"a\"")], Met::Failed),
            ([(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"a\"")], Met::NotModified),
        ] {
            assert_eq!(with(&fields, check), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_part_is_for_who_has_the_rest_of_the_same_file() {
        let later = UNIX_EPOCH + Duration::from_secs(784_111_779);
        let may = |value: Option<&str>, now| {
            let fields: Vec<_> = value.map(|value| (header::IF_RANGE, value)).into_iter().collect();
            with(&fields, |headers, file| may_send_part(headers, file, now))
        };
        assert!(may(None, later) && may(Some("\"a\""), later) && may(Some(THEN), later));
        for value in ["W/\"a\"", "\"b\"", BEFORE, AFTER, "a", "*"] {
            assert!(!may(Some(value), later), "{value}");
        }
        assert!(!may(Some(THEN), later - Duration::from_secs(1)), "it may change within its second");
    }
}
