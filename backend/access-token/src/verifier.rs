//! The check of a token against a key set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode};

use crate::header::Header;
use crate::{Claims, KeySet};

/// The `typ` of an access token's header (RFC 9068, section 2.1); an id_token can't be taken for one.
pub const TOKEN_TYPE: &str = "at+jwt";

/// Ours are under 700 bytes. What is longer isn't ours, and is refused before it costs anything.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// How far the clocks of issuer and verifier may differ.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// How long a token may live. Revocations are remembered for as long, so a token that claims more is refused.
pub const MAX_LIFETIME: Duration = Duration::from_mins(15);

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a signed token of the right type, or too long.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by a key that is not in the set; a rotation may have brought a new one.
    #[error("the token's key is not known")]
    UnknownKey {
        /// The key id that the token names: letters, digits, `-`, `_` and `.`, 64 at most.
        kid: String,
    },
    /// The signature is not of the named key, or the algorithm is another than the key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// The token has ended.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Issuer or audience is another, or a claim is missing or of the wrong form.
    #[error("the token's claims are not acceptable")]
    Claims,
    /// The token's session, or all that its user held, was ended before the token ended.
    #[error("the token has been revoked")]
    Revoked,
}

/// Verifies access tokens of one issuer for one audience.
#[derive(Clone, Debug)]
pub struct Verifier {
    validation: Validation,
}

impl Verifier {
    /// A verifier that accepts tokens which `issuer` made for `audience`.
    pub fn new(issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Times are checked below, so that a token that was verified before is checked in the same way.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        Self { validation }
    }

    /// The token's claims, if a key of the set signed it and every claim holds now. Revocations are not looked at.
    pub fn verify(&self, keys: &KeySet, token: &str) -> Result<Claims, TokenError> {
        self.verify_at(keys, token, now())
    }

    /// The same at another time, given since the Unix epoch.
    pub fn verify_at(&self, keys: &KeySet, token: &str, now: Duration) -> Result<Claims, TokenError> {
        let proven = self.prove(keys, token)?;
        check_times(&proven.claims, now)?;
        Ok(proven.claims)
    }

    /// All of the check that doesn't depend on the time.
    pub(crate) fn prove(&self, keys: &KeySet, token: &str) -> Result<Proven, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = Header::read(token).ok_or(TokenError::Malformed)?;
        if header.typ != TOKEN_TYPE {
            return Err(TokenError::Malformed);
        }
        if !header.is_of_our_algorithm() {
            return Err(TokenError::Signature);
        }
        let Some(key) = keys.get(&header.kid) else {
            return Err(match header.names_a_likely_key() {
                true => TokenError::UnknownKey { kid: header.kid },
                false => TokenError::Malformed,
            });
        };
        let token =
            decode::<Claims>(token, &key.decoding, &self.validation).map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => TokenError::Signature,
                ErrorKind::Json(_)
                | ErrorKind::InvalidIssuer
                | ErrorKind::InvalidAudience
                | ErrorKind::MissingRequiredClaim(_)
                | ErrorKind::InvalidClaimFormat(_) => TokenError::Claims,
                _ => TokenError::Malformed,
            })?;
        let claims = token.claims;
        if claims.exp.saturating_sub(claims.iat) > MAX_LIFETIME.as_secs() {
            return Err(TokenError::Claims);
        }
        Ok(Proven { claims, kid: header.kid, key: key.bytes })
    }
}

/// A token whose signature and claims are right, whenever that may be, and the key that says so.
pub(crate) struct Proven {
    pub(crate) claims: Claims,
    pub(crate) kid: String,
    pub(crate) key: [u8; 32],
}

/// Whether the time, since the Unix epoch, lies within the token's (RFC 7519, sections 4.1.4 and 4.1.5).
pub(crate) fn check_times(claims: &Claims, now: Duration) -> Result<(), TokenError> {
    let (now, leeway) = (now.as_secs(), LEEWAY.as_secs());
    if claims.exp.saturating_add(leeway) < now {
        return Err(TokenError::Expired);
    }
    if claims.nbf.is_some_and(|not_before| not_before > now.saturating_add(leeway)) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// Since the Unix epoch.
pub(crate) fn now() -> Duration {
    // A clock before 1970 is broken: then every token has ended.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX)
}
