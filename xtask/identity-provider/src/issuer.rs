//! One OIDC issuer: its discovery document, its public keys, and the id_tokens it hands out for the asking.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};

use crate::id_token::{IdTokenClaims, MintRequest};
use crate::signing_key::SigningKey;

/// A request names one user; more than this is a mistake.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// An issuer and its key.
pub(crate) struct Issuer {
    /// The issuer's name, the URL that its router is mounted at.
    url: String,
    key: SigningKey,
}

impl Issuer {
    pub(crate) fn new(url: String, key: SigningKey) -> Self {
        Self { url, key }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks.json", get(jwks))
            .route("/mint", post(mint))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Arc::new(self))
    }
}

/// OpenID Connect Discovery 1.0, section 3. Names only what is served.
async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(json!({
        "issuer": issuer.url,
        "jwks_uri": format!("{}/jwks.json", issuer.url),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["aud", "email", "email_verified", "exp", "iat", "iss", "name", "nonce", "sub"],
    }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Json<JwkSet> {
    Json(issuer.key.jwks())
}

async fn mint(
    State(issuer): State<Arc<Issuer>>,
    request: Result<Json<MintRequest>, JsonRejection>,
) -> Result<Json<Value>, MintError> {
    let Json(request) = request?;
    let claims =
        IdTokenClaims::new(&issuer.url, request, SystemTime::now()).map_err(MintError::unprocessable)?;
    let id_token = issuer.key.sign(&claims).map_err(|error| {
        tracing::error!(%error, "cannot sign an id_token");
        MintError { status: StatusCode::INTERNAL_SERVER_ERROR, detail: "the token can't be signed".into() }
    })?;
    Ok(Json(json!({ "id_token": id_token })))
}

/// A refusal, told the way OAuth tells errors (RFC 6749, section 5.2).
struct MintError {
    status: StatusCode,
    detail: String,
}

impl MintError {
    fn unprocessable(detail: String) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail }
    }
}

impl From<JsonRejection> for MintError {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), detail: rejection.body_text() }
    }
}

impl IntoResponse for MintError {
    fn into_response(self) -> Response {
        let error = if self.status.is_server_error() { "server_error" } else { "invalid_request" };
        (self.status, Json(json!({ "error": error, "error_description": self.detail }))).into_response()
    }
}
