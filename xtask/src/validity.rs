//! Reads from a certificate how long it is valid, and nothing else of it: no parser of X.509 is worth its weight
//! for that.

use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::date_time_ymd;

/// Tags of DER (ITU-T X.690).
const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;

/// A day of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day {
    year: i32,
    month: u8,
    day: u8,
}

impl Day {
    /// The day that `time` falls on.
    pub(crate) fn of(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = date_time_ymd(1970, 1, 1) + since_epoch;
        Self { year: date.year(), month: date.month().into(), day: date.day() }
    }
}

/// The last day of the first certificate in `pem`; nothing if that can't be told.
pub(crate) fn last_day(pem: &str) -> Option<Day> {
    let der = pem::parse(pem).ok()?;
    let (certificate, _) = element(der.contents(), SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    // RFC 5280, section 4.1: the version, then serial number, signature algorithm and issuer, then the validity.
    if let Some((_, after)) = element(rest, EXPLICIT_0) {
        rest = after;
    }
    for _ in 0..3 {
        rest = any_element(rest)?.2;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, _, after_start) = any_element(validity)?;
    // Until 2049 a time is written as UTCTime (RFC 5280, section 4.1.2.5).
    let (end, _) = element(after_start, UTC_TIME)?;
    let number = |at: usize| std::str::from_utf8(end.get(at..at + 2)?).ok()?.parse::<u8>().ok();
    Some(Day { year: 2000 + i32::from(number(0)?), month: number(2)?, day: number(4)? })
}

/// The content of the element that `der` begins with, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any_element(der)?;
    (found == tag).then_some((content, rest))
}

fn any_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(d, _)| d.len() <= 4)?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_day_is_that_of_the_certificate() {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(2031, 2, 28);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        assert_eq!(last_day(&pem), Some(Day { year: 2031, month: 2, day: 28 }));
    }

    #[test]
    fn what_is_no_certificate_has_no_last_day() {
        for text in ["", "no PEM", "-----BEGIN X-----\nMIMB/w==\n-----END X-----\n"] {
            assert_eq!(last_day(text), None, "{text}");
        }
    }

    #[test]
    fn days_are_ordered_as_in_the_calendar() {
        let day = |seconds| Day::of(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(day(951_782_400), Day { year: 2000, month: 2, day: 29 });
        assert!(day(946_684_799) < day(946_684_800));
    }
}
