//! One OIDC issuer: its discovery document, its public keys, and the id_tokens that it hands out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jsonwebtoken::jwk::JwkSet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::authorize::{self, Grant};
use crate::fault::{Fault, Faults, Setting};
use crate::grants::Grants;
use crate::id_token::{IdTokenClaims, MintRequest};
use crate::key_ring::KeyRing;
use crate::persona::Persona;
use crate::signing_key::SigningKey;
use crate::{events, token};

/// A request names one user; more than this is a mistake.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// A browser comes back at once.
const CODE_LIFE: Duration = Duration::from_secs(60);

/// An issuer and its keys.
pub(crate) struct Issuer {
    /// The issuer's name, the URL that its router is mounted at.
    pub(crate) url: String,
    pub(crate) persona: Persona,
    pub(crate) codes: Grants<Grant>,
    pub(crate) access_tokens: Grants<Grant>,
    pub(crate) faults: Faults,
    keys: KeyRing,
    /// Never published.
    unknown_key: SigningKey,
}

impl Issuer {
    pub(crate) fn new(url: String, persona: Persona, keys: KeyRing, unknown_key: SigningKey) -> Self {
        Self {
            url,
            persona,
            codes: Grants::new(CODE_LIFE),
            access_tokens: Grants::new(token::ACCESS_LIFE),
            faults: Faults::default(),
            keys,
            unknown_key,
        }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks.json", get(jwks))
            .route("/authorize", get(authorize::authorize))
            .merge(token::router())
            .route("/mint", post(mint))
            .route("/events", post(events::send))
            .route("/keys/rotate", post(rotate))
            .route("/faults", get(show_fault).put(set_fault))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Arc::new(self))
    }

    /// What is said of a user, signed; wrong where that is asked for.
    pub(crate) fn id_token(&self, request: MintRequest, now: SystemTime) -> Result<String, Refusal> {
        self.persona.check_sub(request.sub()).map_err(Refusal::unprocessable)?;
        let mut claims = IdTokenClaims::new(&self.url, request, now).map_err(Refusal::unprocessable)?;
        let fault = self.faults.get().fault;
        claims.spoil(fault);
        match fault {
            Fault::UnknownKey => signed(&self.unknown_key, &claims),
            _ => self.sign(&claims),
        }
    }

    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, Refusal> {
        signed(&self.keys.current(), claims)
    }
}

fn signed(key: &SigningKey, claims: &impl Serialize) -> Result<String, Refusal> {
    key.sign(claims).map_err(|error| {
        tracing::error!(%error, "cannot sign a token");
        Refusal::server_error()
    })
}

/// Seconds since the Unix epoch.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// OpenID Connect Discovery 1.0, section 3. Names only what is served.
async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let url = &issuer.url;
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/v1/oidc/userinfo"),
        "jwks_uri": format!("{url}/jwks.json"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": issuer.persona.client_authentications(),
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["aud", "email", "email_verified", "exp", "iat", "iss", "name", "nonce", "sub"],
    }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Result<Json<JwkSet>, Refusal> {
    if issuer.faults.meet().await {
        return Err(Refusal::server_error());
    }
    Ok(Json(issuer.keys.jwks()))
}

async fn mint(
    State(issuer): State<Arc<Issuer>>,
    request: Result<Json<MintRequest>, JsonRejection>,
) -> Result<Json<Value>, Refusal> {
    let Json(request) = request?;
    Ok(Json(json!({ "id_token": issuer.id_token(request, SystemTime::now())? })))
}

#[derive(Deserialize)]
struct Rotation {
    /// Whether the key before goes at once.
    #[serde(default)]
    withdraw: bool,
}

async fn rotate(
    State(issuer): State<Arc<Issuer>>,
    Query(rotation): Query<Rotation>,
) -> Result<StatusCode, Refusal> {
    let rotated = tokio::task::spawn_blocking(move || issuer.keys.rotate(rotation.withdraw)).await;
    match rotated {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "cannot rotate the key");
            Err(Refusal::server_error())
        }
        Err(_) => Err(Refusal::server_error()),
    }
}

async fn show_fault(State(issuer): State<Arc<Issuer>>) -> Json<Setting> {
    Json(issuer.faults.get())
}

async fn set_fault(
    State(issuer): State<Arc<Issuer>>,
    setting: Result<Json<Setting>, JsonRejection>,
) -> Result<Json<Setting>, Refusal> {
    issuer.faults.set(setting?.0);
    Ok(show_fault(State(issuer)).await)
}

/// A refusal, told the way OAuth tells errors (RFC 6749, section 5.2).
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn unprocessable(detail: String) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, error: "invalid_request", detail }
    }

    pub(crate) fn bad_request(error: &'static str, detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, detail: detail.into() }
    }

    pub(crate) fn bad_gateway(detail: String) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, error: "server_error", detail }
    }

    pub(crate) fn server_error() -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: "server_error", detail: "no".into() }
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), error: "invalid_request", detail: rejection.body_text() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error, "error_description": self.detail }))).into_response()
    }
}
