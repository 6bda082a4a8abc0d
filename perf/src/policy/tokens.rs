//! The check of an access token, remembered and not.

use std::rc::Rc;

use access_token::{KeySet, PublicKey, Revocation, Revocations, VerifiedTokens, Verifier, jwks_document};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::policy::bench::{Bench, bench};
use crate::token;

/// As many as the edge remembers.
const MANY: usize = 4096;
const REVOCATIONS: usize = 50_000;

/// The benches of this part.
pub(crate) fn benches() -> anyhow::Result<Vec<Bench>> {
    let (key, stranger) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let public = PublicKey::ed25519("key-1", URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()));
    let keys = Rc::new(KeySet::from_jwks(jwks_document(&[public]).as_bytes())?);
    let one = sign(&key, "key-1", 0)?;
    let forged = sign(&stranger, "key-1", 0)?;
    let unknown = sign(&stranger, "key-2", 0)?;
    let many: Vec<String> =
        (0..MANY).map(|number| sign(&key, "key-1", number)).collect::<anyhow::Result<_>>()?;
    let revoked = Revocations::default();
    for number in 0..REVOCATIONS {
        revoked.revoke(&Revocation::Session { id: format!("another session {number}") });
    }
    let verifier = || Verifier::new("daemun", "daemun");
    verifier().verify(&keys, &one).context("the token of the measurement")?;

    let plain = |token: String| {
        let (verifier, keys) = (verifier(), Rc::clone(&keys));
        move || verifier.verify(&keys, &token).is_ok()
    };
    let remembered = |tokens: Vec<String>, revocations: Revocations| {
        let (verified, keys) = (VerifiedTokens::new(verifier(), MANY), Rc::clone(&keys));
        // What is measured is the second time and later ones.
        for token in &tokens {
            verified.verify(&keys, &revocations, token).ok();
        }
        let mut next = 0;
        move || {
            next = (next + 1) % tokens.len();
            verified.verify(&keys, &revocations, &tokens[next]).is_ok()
        }
    };
    // A quarter of what there is room for: each stays.
    let some = many[..MANY / 4].to_vec();
    Ok(vec![
        bench("token, verified anew", plain(one.clone())),
        bench("token, forged", plain(forged)),
        bench("token, of an unknown key", plain(unknown)),
        bench("token, remembered", remembered(vec![one.clone()], Revocations::default())),
        bench("token, remembered, one of 1,024", remembered(some, Revocations::default())),
        bench("token, remembered, 50,000 revocations", remembered(vec![one], revoked)),
    ])
}

fn sign(key: &SigningKey, kid: &str, number: usize) -> anyhow::Result<String> {
    let claims = token::claims(number, token::now()?);
    token::issue("EdDSA", kid, &claims, |message| Ok(key.sign(message).to_bytes().to_vec()))
}
