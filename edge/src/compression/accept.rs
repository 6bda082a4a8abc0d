//! `Accept-Encoding` (RFC 9110, section 12.5.3): each coding's weight, in thousandths.

use http::{HeaderMap, header};

use crate::config::Coding;

const MOST: u16 = 1000;
/// Of what isn't named and not refused: anything that is named is liked better.
const LEAST: u16 = 1;

/// What a client accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    is_said: bool,
    of_coding: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    any: Option<u16>,
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The bytes as they are.
    Identity,
    /// Coded bytes.
    Coded(Coding),
    /// It refuses all that there is.
    Nothing,
}

impl Accepted {
    /// What a request's fields say; the first word on a coding counts, and what isn't well formed doesn't.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            accepted.is_said = true;
            let Ok(text) = value.to_str() else { continue };
            text.split(',').filter_map(element).for_each(|(name, weight)| accepted.note(name, weight));
        }
        accepted
    }

    fn note(&mut self, name: &str, weight: u16) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let known = Coding::ALL.iter().position(|coding| is(coding.token()));
        let slot = match known {
            Some(index) => &mut self.of_coding[index],
            None if is("x-gzip") => &mut self.of_coding[Coding::Gzip as usize],
            None if is("identity") => &mut self.identity,
            None if name == "*" => &mut self.any,
            None => return,
        };
        slot.get_or_insert(weight);
    }

    /// The best of what is offered: by weight, and among equals what is offered first. The bytes as they are come last,
    /// unless they are named.
    pub fn choose(&self, offered: impl IntoIterator<Item = Coding>) -> Chosen {
        if !self.is_said {
            return Chosen::Identity;
        }
        let identity = match (self.identity, self.any) {
            (Some(weight), _) => weight,
            (None, Some(0)) => 0,
            (None, _) => LEAST,
        };
        let mut best: Option<(u16, Coding)> = None;
        for coding in offered {
            let weight = self.of_coding[coding as usize].or(self.any).unwrap_or(0);
            if weight > best.map_or(0, |(weight, _)| weight) {
                best = Some((weight, coding));
            }
        }
        match best {
            Some((weight, coding)) if weight >= identity => Chosen::Coded(coding),
            _ if identity > 0 => Chosen::Identity,
            _ => Chosen::Nothing,
        }
    }
}

/// `gzip;q=0.5` → a name and its weight.
fn element(text: &str) -> Option<(&str, u16)> {
    match text.split_once(';') {
        None => Some((text.trim(), MOST)),
        Some((name, parameter)) => {
            let (key, value) = parameter.trim().split_once('=')?;
            Some((name.trim(), key.eq_ignore_ascii_case("q").then(|| weight(value)).flatten()?))
        }
    }
}

/// `0`, `0.5`, `1.000` (RFC 9110, section 12.4.2).
fn weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(MOST),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn accepted(values: &[&str]) -> Accepted {
        let value = |text: &&str| (header::ACCEPT_ENCODING, HeaderValue::from_str(text).expect("a value"));
        Accepted::of(&values.iter().map(value).collect())
    }

    fn chosen(value: &str) -> Chosen {
        accepted(&[value]).choose(Coding::ALL)
    }

    #[test]
    fn weights_decide_and_among_equals_our_order() {
        use Coding::{Brotli, Gzip, Zstd};
        for (value, expected) in [
            ("gzip, br, zstd", Chosen::Coded(Brotli)),
            ("gzip;q=0.9, br;q=0.8, zstd;q=0.85", Chosen::Coded(Gzip)),
            ("br;q=0, zstd;q=0.001", Chosen::Coded(Zstd)),
            ("br;q=0, *", Chosen::Coded(Zstd)),
            ("x-gzip", Chosen::Coded(Gzip)),
            ("GZIP;Q=1.000", Chosen::Coded(Gzip)),
            ("gzip ; q=0.5 , identity;q=0.4", Chosen::Coded(Gzip)),
            ("gzip;q=0.5, identity", Chosen::Identity),
            ("deflate", Chosen::Identity),
            ("", Chosen::Identity),
            ("br;q=0", Chosen::Identity),
            ("identity;q=0", Chosen::Nothing),
            ("*;q=0", Chosen::Nothing),
            ("*;q=0, identity", Chosen::Identity),
            ("identity;q=0, gzip;q=0.1", Chosen::Coded(Gzip)),
            ("identity;q=0, *;q=0.1", Chosen::Coded(Brotli)),
        ] {
            assert_eq!(chosen(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_not_well_formed_says_nothing_and_the_first_word_counts() {
        for value in ["br;q=2", "br;q=1.001", "br;q=0.0001", "br;q=-1", "br;q=", "br;level=5", "br;q=.5"] {
            assert_eq!(chosen(value), Chosen::Identity, "{value}");
        }
        assert_eq!(chosen("br;q=0, br"), Chosen::Identity);
        assert_eq!(accepted(&["deflate", "gzip"]).choose(Coding::ALL), Chosen::Coded(Coding::Gzip));
        assert_eq!(accepted(&[]).choose(Coding::ALL), Chosen::Identity);
        assert_eq!(accepted(&["gzip"]).choose([Coding::Brotli]), Chosen::Identity);
    }

    proptest! {
        #[test]
        fn what_is_refused_is_never_chosen(weights in proptest::array::uniform4(0..=1000_u16)) {
            let [br, zstd, gzip, identity] = weights.map(|weight| match weight {
                1000 => "1".to_owned(),
                weight => format!("0.{weight:03}"),
            });
            let value = format!("zstd;q={zstd},identity;q={identity}, br;q={br},\tgzip;q={gzip}");
            let most = weights.iter().max().expect("four");
            match chosen(&value) {
                Chosen::Coded(coding) => prop_assert_eq!(weights[coding as usize], *most),
                Chosen::Identity => prop_assert_eq!(weights[3], *most),
                Chosen::Nothing => prop_assert_eq!(*most, 0),
            }
        }

        #[test]
        fn whatever_is_sent_is_read(text in "[ -~]{0,60}") {
            if let Chosen::Coded(coding) = chosen(&text) {
                let lower = text.to_ascii_lowercase();
                prop_assert!(lower.contains(coding.token()) || lower.contains('*'));
            }
        }
    }
}
