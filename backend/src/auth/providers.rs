//! The providers that vouch for users, and the check of their id_tokens (OpenID Connect Core, section 3.1.3.7).

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::EpochMillis;
use crate::config::{self, Events, Identity};

use super::provider_keys::{ProviderKeys, ProviderKeysError};
use super::store::Profile;

/// An id_token that was issued longer ago isn't accepted.
pub(super) const MAX_AGE: Duration = Duration::from_secs(600);

/// How far the provider's clock may be ahead.
const LEEWAY: Duration = Duration::from_secs(30);

const MAX_ID_TOKEN_BYTES: usize = 8 * 1024;
const MAX_NONCE_BYTES: usize = 255;
/// OpenID Connect Core, section 2: `sub` has at most 255 characters.
const MAX_SUB_BYTES: usize = 255;
const MAX_NAME_CHARS: usize = 100;

/// Why an id_token wasn't accepted.
#[derive(Debug, thiserror::Error)]
pub enum IdTokenError {
    /// Nobody of this id vouches for users.
    #[error("there is no such provider")]
    UnknownProvider,
    /// The token proves nothing.
    #[error("{0}")]
    Invalid(&'static str),
    /// The provider's keys can't be had now.
    #[error("the provider's keys can't be read: {0}")]
    KeysUnreachable(String),
}

/// What an accepted id_token proves.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) identity: Identity,
    pub(super) profile: Profile,
    /// Names the token itself, whatever its signature's encoding.
    pub(super) fingerprint: String,
}

/// A provider as clients see it.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    id: &'a str,
    name: &'a str,
}

/// All providers, by id.
pub(super) struct Providers(BTreeMap<String, Provider>);

struct Provider {
    config: config::Provider,
    keys: ProviderKeys,
    validation: Validation,
}

#[derive(Deserialize)]
struct IdTokenClaims {
    sub: String,
    aud: OneOrMany,
    iat: u64,
    nonce: Option<String>,
    name: Option<String>,
    nickname: Option<String>,
    email: Option<String>,
    picture: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Providers {
    pub(super) fn new(providers: &[config::Provider], http: &reqwest::Client) -> Self {
        let provider = |config: &config::Provider| {
            let keys = ProviderKeys::new(config.jwks_url.clone(), http.clone());
            let provider = Provider { keys, validation: validation(config), config: config.clone() };
            (config.id.clone(), provider)
        };
        Self(providers.iter().map(provider).collect())
    }

    pub(super) fn summaries(&self) -> Vec<Summary<'_>> {
        self.0.values().map(|p| Summary { id: &p.config.id, name: &p.config.name }).collect()
    }

    /// Keeps the providers' keys up to date, for as long as it is run.
    pub(super) async fn poll_keys(&self) {
        futures_util::future::join_all(self.0.values().map(|provider| provider.keys.poll())).await;
    }

    /// What the token proves, if it comes from this provider, is for us, answers `nonce`, and is fresh.
    pub(super) async fn verify(
        &self,
        provider: &str,
        id_token: &str,
        nonce: &str,
    ) -> Result<Verified, IdTokenError> {
        self.0.get(provider).ok_or(IdTokenError::UnknownProvider)?.verify(id_token, nonce).await
    }

    /// How a provider tells of what happens to its users, if it is known and does.
    pub(super) fn events(&self, provider: &str) -> Option<(Events, Option<&SecretString>)> {
        let config = &self.0.get(provider)?.config;
        Some((config.events?, config.webhook_key.as_ref()))
    }

    /// What a security event token says, if it comes from this provider and is for us.
    pub(super) async fn verify_event<C: DeserializeOwned>(
        &self,
        provider: &str,
        token: &str,
    ) -> Result<C, IdTokenError> {
        let provider = self.0.get(provider).ok_or(IdTokenError::UnknownProvider)?;
        let mut validation = validation(&provider.config);
        // They don't end (RFC 8417, section 2.2).
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["iss", "aud"]);
        provider.read(token, &validation).await
    }

    /// Whether the provider may call itself so.
    pub(super) fn is_issuer(&self, provider: &str, issuer: &str) -> bool {
        self.0.get(provider).is_some_and(|provider| issuers(&provider.config.issuer).contains(&issuer))
    }
}

impl Provider {
    async fn verify(&self, id_token: &str, nonce: &str) -> Result<Verified, IdTokenError> {
        let claims: IdTokenClaims = self.read(id_token, &self.validation).await?;
        self.check(&claims, nonce, EpochMillis::now().as_secs())?;
        let signed = id_token.rsplit_once('.').map_or("", |(signed, _)| signed);
        Ok(Verified {
            identity: Identity { provider: self.config.id.clone(), sub: claims.sub.clone() },
            profile: claims.into_profile(),
            fingerprint: hex(&Sha256::digest(signed)),
        })
    }

    /// What a token of this provider says, its signature, issuer and audience proven.
    async fn read<C: DeserializeOwned>(
        &self,
        token: &str,
        validation: &Validation,
    ) -> Result<C, IdTokenError> {
        let malformed = IdTokenError::Invalid("The token is malformed.");
        if token.len() > MAX_ID_TOKEN_BYTES {
            return Err(malformed);
        }
        let Ok(header) = decode_header(token) else { return Err(malformed) };
        if header.alg != Algorithm::RS256 || header.crit.is_some() {
            return Err(IdTokenError::Invalid("The token isn't signed with RS256."));
        }
        let kid = header.kid.ok_or(IdTokenError::Invalid("The token names no key."))?;
        let key = self.keys.find(&kid).await.map_err(|error| match error {
            ProviderKeysError::UnknownKey => {
                IdTokenError::Invalid("The token is signed with an unknown key.")
            }
            ProviderKeysError::Unreachable(cause) => IdTokenError::KeysUnreachable(cause),
        })?;
        let token = decode::<C>(token, &key, validation).map_err(|error| {
            IdTokenError::Invalid(match error.kind() {
                ErrorKind::ExpiredSignature => "The token has expired.",
                ErrorKind::InvalidIssuer => "The token is from another issuer.",
                ErrorKind::InvalidAudience => "The token is for another client.",
                ErrorKind::InvalidSignature => "The token's signature is wrong.",
                _ => "The token's claims are not acceptable.",
            })
        })?;
        Ok(token.claims)
    }

    /// What the library's own validation doesn't look at.
    fn check(&self, claims: &IdTokenClaims, nonce: &str, now: u64) -> Result<(), IdTokenError> {
        let nonce_is_right =
            (1..=MAX_NONCE_BYTES).contains(&nonce.len()) && claims.nonce.as_deref() == Some(nonce);
        let every_audience_is_ours = match &claims.aud {
            OneOrMany::One(aud) => self.config.audiences.contains(aud),
            OneOrMany::Many(auds) => auds.iter().all(|aud| self.config.audiences.contains(aud)),
        };
        let fault = if !nonce_is_right {
            "The id_token's nonce is another."
        } else if !every_audience_is_ours {
            "The id_token is for other clients too."
        } else if claims.iat > now + LEEWAY.as_secs() {
            "The id_token was issued in the future."
        } else if now.saturating_sub(claims.iat) > MAX_AGE.as_secs() {
            "The id_token was issued more than 10 minutes ago."
        } else if !(1..=MAX_SUB_BYTES).contains(&claims.sub.len()) {
            "The id_token's subject is not acceptable."
        } else {
            return Ok(());
        };
        Err(IdTokenError::Invalid(fault))
    }
}

impl IdTokenClaims {
    fn into_profile(self) -> Profile {
        let name = self.name.or(self.nickname).filter(|name| !name.trim().is_empty()).unwrap_or(self.sub);
        Profile {
            name: name.chars().take(MAX_NAME_CHARS).collect(),
            email: self.email.filter(|email| email.len() <= 254),
            picture: self.picture.filter(|url| url.len() <= 2048 && url.starts_with("https://")),
        }
    }
}

fn validation(config: &config::Provider) -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation.set_issuer(&issuers(&config.issuer));
    validation.set_audience(&config.audiences);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    validation
}

/// The forms that `iss` may have. Google writes its own with or without the scheme ("Verify the Google ID token on
/// your server side"); of everybody else's it is the exact string (OpenID Connect Core, section 3.1.3.7).
fn issuers(configured: &str) -> Vec<&str> {
    match configured {
        "https://accounts.google.com" => vec![configured, "accounts.google.com"],
        _ => vec![configured],
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn google_may_leave_the_scheme_out_of_its_name_and_nobody_else() {
        assert_eq!(
            issuers("https://accounts.google.com"),
            ["https://accounts.google.com", "accounts.google.com"]
        );
        for other in
            ["https://kauth.kakao.com", "http://accounts.google.com", "https://accounts.google.com.evil.kr"]
        {
            assert_eq!(issuers(other), [other]);
        }
    }
}
