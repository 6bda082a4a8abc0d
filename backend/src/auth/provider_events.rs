//! What a provider tells of its users: an account that was disabled there, sessions that it ended, a user who unlinked this
//! service. Their sessions end here too.
//!
//! Google signs security event tokens (RISC: RFC 8417, delivered as RFC 8935 says); Kakao calls a webhook with its admin key.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::clock::EpochMillis;
use crate::config::{Events, Identity};
use crate::redis::keys;

use super::audit::Event;
use super::providers::{IdTokenError, hex};
use super::service::{Auth, AuthError};

/// Older ones are not taken: what they end has ended long since.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// So long an event is known to have been taken; longer than it would be.
const REMEMBERED: Duration = Duration::from_secs(25 * 3600);

/// What ends sessions, of <https://schemas.openid.net/secevent/risc/event-type/> and Google's own.
const ENDING: [&str; 7] = [
    "sessions-revoked",
    "tokens-revoked",
    "account-disabled",
    "account-purged",
    "account-credential-change-required",
    "identifier-changed",
    "identifier-recycled",
];

/// Why an event isn't taken.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// There is no such provider, or it tells nothing.
    #[error("this provider sends no events here")]
    UnknownProvider,
    /// Whoever sends it is not the provider, or it is not for us.
    #[error("{0}")]
    Refused(&'static str),
    /// It couldn't be acted on.
    #[error(transparent)]
    Failed(#[from] AuthError),
}

#[derive(Deserialize)]
struct SecurityEvent {
    jti: String,
    iat: u64,
    events: BTreeMap<String, Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default, alias = "sub_id")]
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    iss: Option<String>,
    sub: Option<String>,
}

impl Auth {
    /// Takes an event of a provider, as it came. One that concerns nobody here is taken as well.
    pub async fn take_event(
        &self,
        provider: &str,
        authorization: Option<&str>,
        body: &str,
    ) -> Result<(), EventError> {
        match self.act_on(provider, authorization, body).await {
            Err(EventError::Failed(error)) => Ok(Event::ByProvider.count(Err(error))?),
            Err(refused) => {
                Event::ByProvider.refused();
                Err(refused)
            }
            Ok(()) => Ok(Event::ByProvider.count(Ok(()))?),
        }
    }

    async fn act_on(
        &self,
        provider: &str,
        authorization: Option<&str>,
        body: &str,
    ) -> Result<(), EventError> {
        let (kind, key) = self.providers().events(provider).ok_or(EventError::UnknownProvider)?;
        match kind {
            Events::SecurityEventTokens => self.take_token(provider, body).await,
            Events::KakaoUnlink => {
                let key = key.ok_or(EventError::UnknownProvider)?;
                let expected = format!("KakaoAK {}", key.expose_secret());
                // By their hashes: how long that takes says nothing of the key.
                let is_theirs =
                    authorization.is_some_and(|given| Sha256::digest(given) == Sha256::digest(&expected));
                if !is_theirs {
                    return Err(EventError::Refused("The admin key is another."));
                }
                let user_id = user_id(body).ok_or(EventError::Refused("The form names no user."))?;
                self.end_sessions_of(provider, user_id).await
            }
        }
    }

    async fn take_token(&self, provider: &str, token: &str) -> Result<(), EventError> {
        let event: SecurityEvent =
            self.providers().verify_event(provider, token.trim()).await.map_err(|error| match error {
                IdTokenError::Invalid(why) => EventError::Refused(why),
                other => EventError::Failed(AuthError::IdToken(other)),
            })?;
        if EpochMillis::now().as_secs().saturating_sub(event.iat) > MAX_AGE.as_secs() {
            return Err(EventError::Refused("The event is older than a day."));
        }
        let taken = keys::taken_event(&hex(&Sha256::digest(format!("{provider} {}", event.jti))));
        if self.is_noted(&taken).await? {
            return Ok(());
        }
        for (name, detail) in event.events {
            let kind = name.rsplit('/').next().unwrap_or_default();
            tracing::info!(provider, kind, "a provider tells of a user");
            let Some(Subject { iss, sub: Some(sub) }) = detail.subject else { continue };
            let is_theirs = iss.is_none_or(|iss| self.providers().is_issuer(provider, &iss));
            if ENDING.contains(&kind) && is_theirs {
                self.end_sessions_of(provider, sub).await?;
            }
        }
        // Last: an event that couldn't be acted on may come again.
        self.note(&taken, REMEMBERED).await?;
        Ok(())
    }

    async fn end_sessions_of(&self, provider: &str, sub: String) -> Result<(), EventError> {
        let identity = Identity { provider: provider.to_owned(), sub };
        if let Some(user_id) = self.find_user_id(&identity).await? {
            self.sign_out_everywhere(&user_id).await?;
        }
        Ok(())
    }
}

/// `user_id` of a form.
fn user_id(body: &str) -> Option<String> {
    let url = reqwest::Url::parse(&format!("http://form/?{body}")).ok()?;
    let (_, user_id) = url.query_pairs().find(|(name, _)| name == "user_id")?;
    (!user_id.is_empty()).then(|| user_id.into_owned())
}
