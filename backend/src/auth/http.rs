//! The routes of sign-in.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;

use crate::extract::{Json, Path};
use crate::pagination::Page;
use crate::problem::Problem;

use super::browser;
use super::current_user::CurrentUser;
use super::model::{Device, Me, TokenPair};
use super::oauth::OauthError;
use super::provider_events::EventError;
use super::providers::IdTokenError;
use super::service::{Auth, AuthError};

/// When a provider is out of reach, it is for longer than a moment.
const PROVIDER_RETRY: Duration = Duration::from_secs(5);

/// Verifiers may keep the published keys for this long.
const JWKS_CACHE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));

/// RFC 6749, section 5.1: answers that carry tokens are kept nowhere.
pub(super) const NO_STORE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// All routes of sign-in.
pub fn router(auth: Auth) -> Router {
    Router::new()
        .route("/api/auth/providers", get(providers))
        .route("/api/auth/login", post(login))
        .merge(browser::router())
        .route("/api/auth/events/{provider}", post(event))
        .route("/api/auth/logout-all", post(logout_all))
        .route("/api/auth/sessions", get(list_sessions))
        .route("/api/auth/sessions/{id}", delete(end_session))
        .route("/api/auth/identities/{provider}", post(link))
        .route("/api/me", get(me).delete(delete_me))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(auth)
}

#[derive(Deserialize)]
struct Login {
    provider: String,
    id_token: String,
    nonce: String,
}

#[derive(Deserialize)]
struct Link {
    id_token: String,
    nonce: String,
}

async fn providers(State(auth): State<Auth>) -> Response {
    Json(auth.providers().summaries()).into_response()
}

async fn login(
    State(auth): State<Auth>,
    headers: HeaderMap,
    Json(body): Json<Login>,
) -> Result<Response, Problem> {
    let client = client(&headers);
    Ok(tokens(auth.sign_in(&body.provider, &body.id_token, &body.nonce, client).await?))
}

/// What the client calls itself.
pub(super) fn client(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn logout_all(State(auth): State<Auth>, user: CurrentUser) -> Result<StatusCode, Problem> {
    auth.sign_out_everywhere(&user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_sessions(State(auth): State<Auth>, user: CurrentUser) -> Result<Json<Page<Device>>, Problem> {
    // A user has few: one page holds them all.
    Ok(Json(Page { items: auth.devices(&user).await?, next_cursor: None }))
}

async fn end_session(
    State(auth): State<Auth>,
    user: CurrentUser,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if auth.end_device(&user.id, &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("There is no such session."))
    }
}

async fn me(State(auth): State<Auth>, user: CurrentUser) -> Result<Json<Me>, Problem> {
    Ok(Json(auth.me(&user.id).await?))
}

/// For those who want to be forgotten.
async fn delete_me(State(auth): State<Auth>, user: CurrentUser) -> Result<StatusCode, Problem> {
    auth.delete_account(&user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn link(
    State(auth): State<Auth>,
    user: CurrentUser,
    Path(provider): Path<String>,
    Json(body): Json<Link>,
) -> Result<StatusCode, Problem> {
    auth.link(&user.id, &provider, &body.id_token, &body.nonce).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a provider tells of its users. An answer other than a success makes it tell again.
async fn event(
    State(auth): State<Auth>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Result<StatusCode, Problem> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    auth.take_event(&provider, authorization, &body).await?;
    // Of RFC 8935, section 2.2, the answer is 202; Kakao wants 200.
    let is_webhook = headers.get(header::AUTHORIZATION).is_some();
    Ok(if is_webhook { StatusCode::OK } else { StatusCode::ACCEPTED })
}

async fn jwks(State(auth): State<Auth>) -> Response {
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    ([json, JWKS_CACHE], auth.jwks()).into_response()
}

pub(super) fn tokens(pair: TokenPair) -> Response {
    ([NO_STORE], Json(pair)).into_response()
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        match error {
            EventError::UnknownProvider => Self::not_found("This provider sends no events here."),
            EventError::Refused(why) => Self::bad_request(why),
            EventError::Failed(error) => error.into(),
        }
    }
}

impl From<OauthError> for Problem {
    fn from(error: OauthError) -> Self {
        match error {
            OauthError::UnknownProvider => Self::not_found("There is no such provider to sign in at."),
            OauthError::UnknownSignIn => Self::new(
                StatusCode::BAD_REQUEST,
                "unknown-sign-in",
                "This sign-in is not known, or took too long. Begin again.",
            ),
            OauthError::CodeRefused(cause) => {
                tracing::warn!(cause, "a provider refuses a code");
                Self::unauthorized(
                    "sign-in-refused",
                    "The provider doesn't confirm this sign-in. Begin again.",
                )
            }
            cause @ OauthError::Unreachable(_) => Self::unavailable(&cause, PROVIDER_RETRY),
            OauthError::Redis(error) => error.into(),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::IdToken(IdTokenError::UnknownProvider) => {
                Self::unprocessable("unknown-provider", "There is no such provider.")
            }
            AuthError::IdToken(IdTokenError::Invalid(reason)) => {
                Self::unauthorized("invalid-id-token", reason)
            }
            AuthError::IdToken(cause @ IdTokenError::KeysUnreachable(_)) => {
                Self::unavailable(&cause, PROVIDER_RETRY)
            }
            AuthError::Oauth(error) => error.into(),
            AuthError::IdTokenUsed => Self::unauthorized("invalid-id-token", "The id_token was used before."),
            AuthError::InvalidRefreshToken => {
                Self::unauthorized("invalid-refresh-token", "The refresh token is not valid, or no longer.")
            }
            AuthError::RefreshTokenReused => Self::unauthorized(
                "refresh-token-reused",
                "The refresh token was used before. Its session has been ended: sign in again.",
            ),
            AuthError::IdentityTaken => Self::conflict(
                "identity-taken",
                "This identity belongs to another account. Sign in with it, or delete that account first.",
            ),
            AuthError::NoSuchUser => Self::not_found("There is no such user."),
            AuthError::UserGone => Self::unauthorized("invalid-token", "There is no such user any more."),
            AuthError::Redis(error) => error.into(),
            AuthError::Database(error) => error.into(),
            AuthError::Signing(error) => Self::internal(&error),
        }
    }
}
