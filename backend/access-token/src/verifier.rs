//! The check of a token against a key set.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};

use crate::{Claims, KeySet};

/// The `typ` of an access token's header (RFC 9068, section 2.1); an id_token can't be taken for one.
pub const TOKEN_TYPE: &str = "at+jwt";

/// Ours are under 700 bytes. What is longer isn't ours, and is refused before it costs anything.
const MAX_TOKEN_BYTES: usize = 4096;

/// How far the clocks of issuer and verifier may differ.
const LEEWAY_SECONDS: u64 = 5;

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a signed token of the right type, or too long.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by a key that is not in the set; a rotation may have brought a new one.
    #[error("the token's key is not known")]
    UnknownKey {
        /// The key id that the token names.
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
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        Self { validation }
    }

    /// The token's claims, if a key of the set signed it and every claim holds now.
    pub fn verify(&self, keys: &KeySet, token: &str) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515, section 4.1.11: an extension that is marked critical and not understood refuses the token.
        if header.typ.as_deref() != Some(TOKEN_TYPE) || header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.ok_or(TokenError::Malformed)?;
        let Some(key) = keys.get(&kid) else { return Err(TokenError::UnknownKey { kid }) };
        let token = decode::<Claims>(token, key, &self.validation).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::NotYetValid,
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => TokenError::Signature,
            ErrorKind::Json(_)
            | ErrorKind::InvalidIssuer
            | ErrorKind::InvalidAudience
            | ErrorKind::MissingRequiredClaim(_)
            | ErrorKind::InvalidClaimFormat(_) => TokenError::Claims,
            _ => TokenError::Malformed,
        })?;
        Ok(token.claims)
    }
}
