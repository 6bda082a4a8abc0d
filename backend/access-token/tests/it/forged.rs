//! What no verifier may take.

use std::time::Duration;

use access_token::{MAX_TOKEN_BYTES, TokenError, Verifier};

use crate::issuer::{Issuer, NOW, claims, keys};

fn check(token: &str) -> Result<(), TokenError> {
    let verifier = Verifier::new("daemun", "daemun");
    verifier.verify_at(&keys(&[&Issuer::new(1)]), token, Duration::from_secs(NOW)).map(drop)
}

#[test]
fn a_good_token_passes_until_it_ends() {
    let (issuer, verifier) = (Issuer::new(1), Verifier::new("daemun", "daemun"));
    let token = issuer.sign(&claims("s", "u"));
    let at = |seconds| verifier.verify_at(&keys(&[&issuer]), &token, Duration::from_secs(seconds));
    assert_eq!(at(NOW), Ok(claims("s", "u")));
    assert!(at(NOW + 905).is_ok());
    assert_eq!(at(NOW + 906), Err(TokenError::Expired));
    assert_eq!(at(u64::MAX), Err(TokenError::Expired));
}

#[test]
fn a_header_that_is_not_ours_is_refused_before_any_key_is_sought() {
    let issuer = Issuer::new(1);
    let payload = serde_json::to_string(&claims("s", "u")).expect("claims");
    let header = |fields: &str| issuer.sign_text(fields, &payload);
    for (fields, error) in [
        (r#"{"alg":"none","typ":"at+jwt","kid":"key-1"}"#, TokenError::Signature),
        (r#"{"alg":"nOnE","typ":"at+jwt","kid":"key-1"}"#, TokenError::Signature),
        (r#"{"alg":"HS256","typ":"at+jwt","kid":"key-1"}"#, TokenError::Signature),
        (r#"{"alg":"eddsa","typ":"at+jwt","kid":"key-1"}"#, TokenError::Signature),
        (r#"{"alg":"EdDSA","typ":"JWT","kid":"key-1"}"#, TokenError::Malformed),
        (r#"{"alg":"EdDSA","typ":"at+jwt"}"#, TokenError::Malformed),
        (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","crit":["exp"]}"#, TokenError::Malformed),
        (r#"{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt","kid":"key-1"}"#, TokenError::Malformed),
        (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"../../key-1"}"#, TokenError::Malformed),
        (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"' OR 1=1 --"}"#, TokenError::Malformed),
    ] {
        assert_eq!(check(&header(fields)), Err(error), "{fields}");
    }
    let long = issuer.header().replace("key-1", &"k".repeat(65));
    assert_eq!(check(&header(&long)), Err(TokenError::Malformed));
    let likely = issuer.header().replace("key-1", &"k".repeat(64));
    assert_eq!(check(&header(&likely)), Err(TokenError::UnknownKey { kid: "k".repeat(64) }));
}

#[test]
fn claims_that_are_missing_doubled_or_no_numbers_are_refused() {
    let issuer = Issuer::new(1);
    let good = serde_json::to_string(&claims("s", "u")).expect("claims");
    let exp = format!(r#""exp":{}"#, NOW + 900);
    assert_eq!(check(&issuer.sign_text(&issuer.header(), &good)), Ok(()));
    for (from, to) in [
        (exp.as_str(), r#""x":1"#.to_owned()),
        (exp.as_str(), format!(r#""exp":"{}""#, NOW + 900)),
        (exp.as_str(), r#""exp":1e400"#.to_owned()),
        (exp.as_str(), r#""exp":-1"#.to_owned()),
        (exp.as_str(), format!("{exp},{exp}")),
        (exp.as_str(), format!(r#""exp":{}"#, NOW + 901)),
        (r#""role":"user""#, r#""role":"root""#.to_owned()),
        (r#""aud":"daemun""#, r#""aud":"another""#.to_owned()),
        (r#""aud":"daemun""#, r#""aud":["daemun","another"]"#.to_owned()),
        (r#""iss":"daemun""#, r#""iss":"another""#.to_owned()),
        (r#""sub":"u","#, String::new()),
    ] {
        let payload = good.replace(from, &to);
        assert_ne!(payload, good, "{from}");
        assert_eq!(
            check(&issuer.sign_text(&issuer.header(), &payload)),
            Err(TokenError::Claims),
            "{payload}"
        );
    }
    let ahead = good.replace(&exp, &format!(r#"{exp},"nbf":{}"#, NOW + 60));
    assert_eq!(check(&issuer.sign_text(&issuer.header(), &ahead)), Err(TokenError::NotYetValid));
}

#[test]
fn every_other_spelling_of_a_token_is_refused() {
    let good = Issuer::new(1).sign(&claims("s", "u"));
    assert_eq!(check(&good), Ok(()));
    let last = good.chars().last().expect("a character");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for other in alphabet.chars().filter(|other| *other != last) {
        // 64 bytes leave four bits of the last character unused: they must be nought.
        let spelled = format!("{}{other}", &good[..good.len() - 1]);
        assert!(check(&spelled).is_err(), "{other}");
    }
    for spelled in [
        format!("{good}="),
        format!("{good}."),
        format!("{good}.x"),
        format!(".{good}"),
        format!("{} ", &good[..good.len() - 1]),
        good.rsplit_once('.').expect("parts").0.to_owned(),
        format!("{}.", good.rsplit_once('.').expect("parts").0),
        good.replace('.', ".."),
        String::new(),
        "..".to_owned(),
    ] {
        assert_eq!(check(&spelled), Err(TokenError::Malformed), "{spelled}");
    }
}

#[test]
fn a_token_that_is_too_long_is_refused_whoever_signed_it() {
    let mut long = claims("s", "u");
    long.jti = "x".repeat(MAX_TOKEN_BYTES);
    assert_eq!(check(&Issuer::new(1).sign(&long)), Err(TokenError::Malformed));
}

#[test]
fn another_key_of_the_same_name_signs_nothing() {
    let stranger = Issuer::named("key-1", 2);
    assert_eq!(check(&stranger.sign(&claims("s", "u"))), Err(TokenError::Signature));
}
