//! One order, from the question to the certificate (RFC 8555, 7.4).

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Error as CaError, Identifier, NewOrder,
    Order, OrderStatus, RetryPolicy,
};

use super::answers::{self, Answer};
use super::certificate::CertificateError;
use super::client::Unavailable;
use super::state::StateFolder;
use crate::config::ChallengeKind;

/// How often the CA is asked whether it is done, unless it says itself when to ask again.
const POLL: RetryPolicy = RetryPolicy::new().backoff(1.5).timeout(Duration::from_secs(120));

/// The CA knows no such account (RFC 8555, 6.7).
const LOST_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("{}", told(.0))]
    Ca(#[from] CaError),
    #[error("the CA could not validate the host: {0}")]
    Invalid(String),
    #[error("the CA offers no {} challenge for this host", name(*.0))]
    NoChallenge(ChallengeKind),
    #[error("the CA's token is not base64url")]
    Token,
    #[error("the certificate that came is refused: {0}")]
    Certificate(#[from] CertificateError),
    #[error("the order was not done within {0:?}")]
    Timeout(Duration),
    #[error("{} is no account: {error}", file.display())]
    Account { file: PathBuf, error: serde_json::Error },
    #[error("a key can't be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the state folder can't be used: {0}")]
    State(#[from] io::Error),
}

impl OrderError {
    /// How long the CA asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Ca(CaError::Timeout(Some(at))) => Some(at.saturating_duration_since(Instant::now())),
            Self::Ca(CaError::Other(error)) => error.downcast_ref::<Unavailable>()?.retry_after,
            _ => None,
        }
    }

    /// Whether the CA doesn't know our account any more.
    pub(super) fn is_of_lost_account(&self) -> bool {
        matches!(self, Self::Ca(CaError::Api(problem)) if problem.r#type.as_deref() == Some(LOST_ACCOUNT))
    }
}

/// Orders a certificate for a host and proves it; returns its new key and the chain, as PEM.
pub(super) async fn certificate(
    account: &Account,
    host: &str,
    kind: ChallengeKind,
    state: &StateFolder,
) -> Result<String, OrderError> {
    let identifiers = [Identifier::Dns(host.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let answers = answer_challenges(&mut order, host, kind, state).await?;
    if order.poll_ready(&POLL).await? != OrderStatus::Ready {
        return Err(OrderError::Invalid(why_invalid(&mut order).await));
    }
    drop(answers);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLL).await?;
    Ok(key + &chain)
}

/// Publishes what the CA asks for and tells it so. The answers stand until they are dropped.
async fn answer_challenges(
    order: &mut Order,
    host: &str,
    kind: ChallengeKind,
    state: &StateFolder,
) -> Result<Vec<Answer>, OrderError> {
    let mut answers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // A CA may remember that the host was proven not long ago (RFC 8555, 7.1.4).
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge =
            authorization.challenge(challenge_type(kind)).ok_or(OrderError::NoChallenge(kind))?;
        answers.push(publish(&challenge, host, kind, state)?);
        challenge.set_ready().await?;
    }
    Ok(answers)
}

fn publish(
    challenge: &ChallengeHandle<'_>,
    host: &str,
    kind: ChallengeKind,
    state: &StateFolder,
) -> Result<Answer, OrderError> {
    let proof = challenge.key_authorization();
    match kind {
        ChallengeKind::Http01 => answers::publish_http(state, &challenge.token, proof.as_str()),
        ChallengeKind::TlsAlpn01 => answers::publish_alpn(state, host, proof.digest().as_ref()),
    }
}

/// The reason of a refused order stands in its challenges (RFC 8555, 7.1.6).
async fn why_invalid(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(seen) = authorization.refresh().await else { continue };
        if let Some(problem) = seen.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return problem.to_string();
        }
    }
    "it gives no reason".to_owned()
}

fn challenge_type(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

fn name(kind: ChallengeKind) -> &'static str {
    match kind {
        ChallengeKind::Http01 => "http-01",
        ChallengeKind::TlsAlpn01 => "tls-alpn-01",
    }
}

/// An error with its causes: a failed connection says why only in its innermost one.
fn told(error: &CaError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
