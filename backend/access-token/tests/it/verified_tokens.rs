//! What is remembered of checks never answers differently from a plain check.

use std::time::Duration;

use access_token::{KeySet, Revocation, Revocations, TokenError, VerifiedTokens, Verifier};
use proptest::prelude::*;

use crate::issuer::{Issuer, NOW, claims, keys};

fn verifier() -> Verifier {
    Verifier::new("daemun", "daemun")
}

struct Fixture {
    tokens: VerifiedTokens,
    revocations: Revocations,
    keys: KeySet,
}

impl Fixture {
    fn new() -> Self {
        Self {
            tokens: VerifiedTokens::new(verifier(), 1024),
            revocations: Revocations::default(),
            keys: keys(&[&Issuer::new(1)]),
        }
    }

    fn at(&self, token: &str, seconds: u64) -> Result<(), TokenError> {
        let now = Duration::from_secs(seconds);
        self.tokens.verify_at(&self.keys, &self.revocations, token, now).map(drop)
    }
}

#[test]
fn a_remembered_token_ends_in_time() {
    let fixture = Fixture::new();
    let token = Issuer::new(1).sign(&claims("s", "u"));
    assert_eq!(fixture.at(&token, NOW), Ok(()));
    assert_eq!(fixture.tokens.len(), 1);
    assert_eq!(fixture.at(&token, NOW + 906), Err(TokenError::Expired));
}

#[test]
fn a_remembered_token_is_not_valid_before_its_time() {
    let fixture = Fixture::new();
    let mut later = claims("s", "u");
    later.nbf = Some(NOW + 60);
    let token = Issuer::new(1).sign(&later);
    assert_eq!(fixture.at(&token, NOW + 60), Ok(()));
    assert_eq!(fixture.at(&token, NOW), Err(TokenError::NotYetValid), "a clock was set back");
}

#[test]
fn a_remembered_token_goes_with_its_key() {
    let mut fixture = Fixture::new();
    let token = Issuer::new(1).sign(&claims("s", "u"));
    assert_eq!(fixture.at(&token, NOW), Ok(()));
    fixture.keys = keys(&[&Issuer::new(2)]);
    assert_eq!(fixture.at(&token, NOW), Err(TokenError::UnknownKey { kid: "key-1".into() }));
    fixture.keys = keys(&[&Issuer::named("key-1", 2)]);
    assert_eq!(fixture.at(&token, NOW), Err(TokenError::Signature), "the name was given to another key");
    fixture.keys = keys(&[&Issuer::new(1)]);
    assert_eq!(fixture.at(&token, NOW), Ok(()));
}

#[test]
fn a_remembered_token_is_revoked_at_once() {
    let fixture = Fixture::new();
    let token = Issuer::new(1).sign(&claims("s", "u"));
    assert_eq!(fixture.at(&token, NOW), Ok(()));
    fixture.revocations.revoke_at(&Revocation::Session { id: "s".into() }, NOW * 1000);
    assert_eq!(fixture.at(&token, NOW), Err(TokenError::Revoked));
}

#[test]
fn a_bad_token_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let good = Issuer::new(1).sign(&claims("s", "u"));
    for bad in [Issuer::new(2).sign(&claims("s", "u")), format!("{good}="), "x".repeat(5000), String::new()] {
        assert!(fixture.at(&bad, NOW).is_err());
    }
    assert!(fixture.at(&good, NOW + 10_000).is_err());
    assert!(fixture.tokens.is_empty());
    assert_eq!(fixture.at(&good, NOW), Ok(()));
}

#[test]
fn a_token_that_shares_all_but_a_byte_is_another() {
    let fixture = Fixture::new();
    let good = Issuer::new(1).sign(&claims("s", "u"));
    assert_eq!(fixture.at(&good, NOW), Ok(()));
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        assert!(changed == good || fixture.at(&changed, NOW).is_err(), "{at}");
    }
}

#[test]
fn no_more_tokens_are_remembered_than_there_is_room_for() {
    let (issuer, tokens) = (Issuer::new(1), VerifiedTokens::new(verifier(), 128));
    let (keys, revocations) = (keys(&[&issuer]), Revocations::default());
    for number in 0..160 {
        let token = issuer.sign(&claims(&format!("s{number}"), "u"));
        let now = Duration::from_secs(NOW);
        assert!(tokens.verify_at(&keys, &revocations, &token, now).is_ok());
    }
    assert!((80..=128).contains(&tokens.len()), "{}", tokens.len());
}

#[derive(Clone, Debug)]
enum Step {
    Check { token: usize },
    Wait { seconds: u64 },
    Publish { keys: Vec<u8>, renamed: bool },
    RevokeSession { session: usize },
    RevokeUser { user: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..24_usize).prop_map(|token| Step::Check { token }),
        1 => (1..400_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => (prop::collection::vec(1..4_u8, 1..4), any::<bool>())
            .prop_map(|(keys, renamed)| Step::Publish { keys, renamed }),
        1 => (0..4_usize).prop_map(|session| Step::RevokeSession { session }),
        1 => (0..3_usize).prop_map(|user| Step::RevokeUser { user }),
    ]
}

/// Tokens of three keys, four sessions and three users; every fourth is good from later on, every sixth is spoiled.
fn tokens() -> Vec<String> {
    let make = |number: usize| {
        let mut claims = claims(&format!("s{}", number % 4), &format!("u{}", number % 3));
        claims.iat += 40 * number as u64;
        claims.exp = claims.iat + if number.is_multiple_of(2) { 900 } else { 60 };
        claims.nbf = number.is_multiple_of(4).then_some(claims.iat + 30);
        let token = Issuer::new(1 + (number / 8) as u8).sign(&claims);
        if number % 6 == 5 { token.replacen('.', "x.", 1) } else { token }
    };
    (0..24).map(make).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_answer_is_a_plain_checks_whatever_happened_before(steps in prop::collection::vec(step(), 1..60)) {
        let all = tokens();
        let remembered = VerifiedTokens::new(verifier(), 128);
        let (plain, revocations) = (verifier(), Revocations::default());
        let mut published = keys(&[&Issuer::new(1)]);
        let mut now = Duration::from_secs(NOW);
        for step in steps {
            match step {
                Step::Check { token } => {
                    let expected = plain.verify_at(&published, &all[token], now).and_then(|claims| {
                        if revocations.is_revoked(&claims) { Err(TokenError::Revoked) } else { Ok(claims) }
                    });
                    let answer = remembered.verify_at(&published, &revocations, &all[token], now);
                    prop_assert_eq!(answer.map(|claims| (*claims).clone()), expected);
                }
                Step::Wait { seconds } => now += Duration::from_secs(seconds),
                Step::Publish { keys: numbers, renamed } => {
                    // Renamed: another key is published under a name that was known.
                    let key = |number: &u8| Issuer::named(&format!("key-{}", number % 3 + u8::from(!renamed)), *number);
                    let issuers: Vec<_> = numbers.iter().map(key).collect();
                    published = keys(&issuers.iter().collect::<Vec<_>>());
                }
                Step::RevokeSession { session } => {
                    let id = format!("s{session}");
                    revocations.revoke_at(&Revocation::Session { id }, now.as_millis() as u64);
                }
                Step::RevokeUser { user } => {
                    let (id, not_before_ms) = (format!("u{user}"), now.as_millis() as u64);
                    revocations.revoke_at(&Revocation::User { id, not_before_ms }, not_before_ms);
                }
            }
        }
    }
}
