//! The token endpoint (RFC 6749, section 4.1.3) and the user's own data.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::authorize::Grant;
use crate::id_token::MintRequest;
use crate::issuer::{Issuer, Refusal};
use crate::{CLIENT_ID, CLIENT_SECRET};

/// How long the provider's own access token holds.
pub(crate) const ACCESS_LIFE: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct Exchange {
    grant_type: String,
    code: String,
    redirect_uri: String,
    code_verifier: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

pub(crate) fn router() -> Router<Arc<Issuer>> {
    Router::new().route("/token", post(token)).route("/v1/oidc/userinfo", get(user_info))
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    form: Result<Form<Exchange>, FormRejection>,
) -> Result<Response, Refusal> {
    if issuer.faults.meet().await {
        return Err(Refusal::server_error());
    }
    let Form(form) =
        form.map_err(|rejection| Refusal::bad_request("invalid_request", rejection.body_text()))?;
    authenticate(&issuer, &headers, &form)?;
    if form.grant_type != "authorization_code" {
        return Err(Refusal::bad_request("unsupported_grant_type", "authorization_code only"));
    }
    // Whatever comes of it, the code was used.
    let grant = issuer.codes.take(&form.code).filter(|grant| is_granted(grant, &form));
    let grant =
        grant.ok_or_else(|| Refusal::bad_request("invalid_grant", "the code isn't valid for this"))?;
    let mut answer = json!({
        "access_token": issuer.access_tokens.give(grant.clone()),
        "token_type": "bearer",
        "expires_in": ACCESS_LIFE.as_secs(),
        "scope": grant.scope,
    });
    // Without the scope `openid` it is plain OAuth 2.0; at Kakao it must be asked for each time.
    if grant.scope.split(' ').any(|scope| scope == "openid") {
        let (name, email) = issuer.persona.person(&grant.sub);
        let request = MintRequest::new(grant.sub, name, email, grant.nonce);
        answer["id_token"] = issuer.id_token(request, SystemTime::now())?.into();
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

fn authenticate(issuer: &Issuer, headers: &HeaderMap, form: &Exchange) -> Result<(), Refusal> {
    let refusal =
        || Refusal { status: StatusCode::UNAUTHORIZED, error: "invalid_client", detail: "KOE010".into() };
    let may = |way| issuer.persona.client_authentications().contains(&way);
    let basic = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let is_known = match basic {
        Some(value) => {
            let expected = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
            may("client_secret_basic") && value == format!("Basic {expected}").as_bytes()
        }
        None => {
            form.client_id.as_deref() == Some(CLIENT_ID)
                && form.client_secret.as_deref() == Some(CLIENT_SECRET)
        }
    };
    if is_known { Ok(()) } else { Err(refusal()) }
}

/// RFC 7636, section 4.6.
fn is_granted(grant: &Grant, form: &Exchange) -> bool {
    let verifier = form.code_verifier.as_deref().unwrap_or_default();
    grant.redirect_uri == form.redirect_uri
        && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == grant.code_challenge
}

async fn user_info(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let token =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let grant = token.and_then(|token| issuer.access_tokens.find(token)).ok_or(Refusal {
        status: StatusCode::UNAUTHORIZED,
        error: "invalid_token",
        detail: "the access token isn't valid".into(),
    })?;
    let (name, email) = issuer.persona.person(&grant.sub);
    Ok(Json(match email {
        Some(email) => json!({ "sub": grant.sub, "name": name, "email": email, "email_verified": true }),
        None => json!({ "sub": grant.sub, "nickname": name }),
    }))
}
