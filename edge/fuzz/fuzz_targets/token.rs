//! An access token is accepted only if the issuer signed it, byte for byte, and every claim holds; and what is remembered
//! of tokens says the same as looking at each anew.
//!
//! The clock stands still: a token lives for minutes, and a run for hours. That the genuine one is accepted is asserted, or
//! nothing here could fail.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use access_token::{Claims, KeySet, PublicKey, Revocations, TokenError, VerifiedTokens, Verifier, jwks_document};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use libfuzzer_sys::fuzz_target;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;

const ISSUER: &str = "daemun";
const HEADER: &str = r#"{"typ":"at+jwt","alg":"EdDSA","kid":"k1"}"#;
const CLAIMS: &str =
    r#"{"iss":"daemun","aud":"daemun","sub":"u","sid":"s","role":"user","iat":1000000000,"exp":1000000600,"jti":"j"}"#;
/// Seconds since 1970, a minute after the genuine token was made.
const NOW: u64 = 1_000_000_060;

static OURS: LazyLock<Ed25519KeyPair> = LazyLock::new(|| pair(1));
static ANOTHER: LazyLock<Ed25519KeyPair> = LazyLock::new(|| pair(2));
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(ISSUER, ISSUER));
static REMEMBERED: LazyLock<VerifiedTokens> = LazyLock::new(|| VerifiedTokens::new(Verifier::new(ISSUER, ISSUER), 64));
static NOTHING_REVOKED: LazyLock<Revocations> = LazyLock::new(Revocations::default);
static GENUINE: LazyLock<String> = LazyLock::new(|| {
    let token = signed(HEADER.as_bytes(), CLAIMS.as_bytes(), &OURS);
    assert!(verify(&KEYS, &token).is_ok(), "the genuine token is refused: nothing is tried here");
    token
});
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let x = BASE64.encode(OURS.public_key());
    let document = jwks_document(&[PublicKey::ed25519("k1", x.clone()), PublicKey::ed25519("k2", x)]);
    KeySet::from_jwks(document.as_bytes()).expect("a set")
});

fuzz_target!(|data: &[u8]| {
    // What is tried, then with what.
    let [attempt, rest @ ..] = data else { return };
    match attempt % 6 {
        0 => bytes_are_no_token(rest),
        1 => a_change_breaks_it(rest),
        2 => what_is_signed_must_hold(rest),
        3 => is_refused(&with_parts(rest, |header, claims| signed(header, claims, &ANOTHER))),
        // The public key as a secret (RFC 8725, section 2.1).
        4 => is_refused(&with_parts(rest, hashed)),
        _ => any_key_set_is_read(rest),
    }
});

/// Looked at anew, and twice by way of what is remembered: all three say the same.
fn verify(keys: &KeySet, token: &str) -> Result<Claims, TokenError> {
    let now = Duration::from_secs(NOW);
    let anew = VERIFIER.verify_at(keys, token, now);
    for _ in 0..2 {
        let remembered = REMEMBERED.verify_at(keys, &NOTHING_REVOKED, token, now);
        match (&anew, &remembered) {
            (Ok(claims), Ok(known)) => assert_eq!(format!("{claims:?}"), format!("{known:?}"), "{token}"),
            (Err(_), Err(_)) => {}
            _ => panic!("{anew:?} anew, {remembered:?} remembered: {token}"),
        }
    }
    anew
}

fn bytes_are_no_token(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verify(&KEYS, text).is_err() || text == *GENUINE);
    }
}

/// Pairs of a place and what is put there.
fn a_change_breaks_it(changes: &[u8]) {
    let mut token = GENUINE.clone().into_bytes();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % (token.len() + 1);
        match change[2] {
            0 => token.truncate(place),
            byte if byte < 0x80 && place < token.len() => token[place] = byte,
            byte => token.insert(place, byte % 0x80),
        }
    }
    let token = String::from_utf8(token).expect("ASCII");
    assert!(verify(&KEYS, &token).is_err() || token == *GENUINE, "{token}");
}

/// A header and claims in two lines; what is empty is a good one.
fn with_parts<T>(lines: &[u8], made: impl Fn(&[u8], &[u8]) -> T) -> T {
    let middle = lines.iter().position(|byte| *byte == b'\n').unwrap_or(lines.len());
    let (header, claims) = (&lines[..middle], lines.get(middle + 1..).unwrap_or_default());
    let or = |given: &'static str, bytes: &[u8]| {
        if bytes.is_empty() { given.as_bytes().to_vec() } else { bytes.to_vec() }
    };
    made(&or(HEADER, header), &or(CLAIMS, claims))
}

fn what_is_signed_must_hold(lines: &[u8]) {
    with_parts(lines, |header, claims| {
        let Ok(accepted) = verify(&KEYS, &signed(header, claims, &OURS)) else { return };
        let header: Value = serde_json::from_slice(header).expect("an object");
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(header["alg"], "EdDSA");
        assert!(header["kid"] == "k1" || header["kid"] == "k2");
        assert!(header.get("crit").is_none_or(Value::is_null));
        is_current(&accepted, &serde_json::from_slice(claims).expect("an object"));
    });
}

fn is_current(accepted: &Claims, claims: &Value) {
    assert!(accepted.iss == ISSUER && accepted.aud == ISSUER);
    assert!(accepted.exp + 5 >= NOW, "expired");
    assert!(
        claims.get("nbf").and_then(Value::as_f64).is_none_or(|nbf| nbf <= (NOW + 6) as f64),
        "not yet valid"
    );
    assert_eq!(serde_json::to_value(accepted).expect("an object")["sub"], claims["sub"]);
}

fn is_refused(token: &str) {
    assert!(verify(&KEYS, token).is_err(), "{token}");
}

fn any_key_set_is_read(document: &[u8]) {
    let Ok(keys) = KeySet::from_jwks(document) else { return };
    assert!((1..=16).contains(&keys.len()) && !keys.is_empty());
    if let Ok(claims) = verify(&keys, &GENUINE) {
        assert!(keys.contains("k1") && claims.iss == ISSUER);
        let text = String::from_utf8_lossy(document);
        assert!(text.contains('\\') || text.contains(&BASE64.encode(OURS.public_key())), "another key");
    }
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed")
}

fn signed(header: &[u8], claims: &[u8], pair: &Ed25519KeyPair) -> String {
    let text = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    format!("{text}.{}", BASE64.encode(pair.sign(text.as_bytes())))
}

fn hashed(header: &[u8], claims: &[u8]) -> String {
    let text = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, OURS.public_key().as_ref());
    format!("{text}.{}", BASE64.encode(hmac::sign(&secret, text.as_bytes())))
}
