//! The routes of a browser's sign-in, and of what its cookie speaks for.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use crate::extract::{Json, Path, Query};
use crate::problem::Problem;

use super::cookies::{Cookie, is_of_this_site};
use super::current_user::CurrentUser;
use super::http::{NO_STORE, client, tokens};
use super::model::TokenPair;
use super::oauth::{self, OauthError};
use super::service::{Auth, AuthError};

/// The routes.
pub(super) fn router() -> Router<Auth> {
    Router::new()
        .route("/api/auth/login/{provider}", get(login))
        .route("/api/auth/callback/{provider}", get(callback))
        .route("/api/auth/refresh", post(refresh))
        .route("/api/auth/logout", post(logout))
}

#[derive(Deserialize)]
struct LoginQuery {
    #[serde(default)]
    return_to: String,
}

/// Sends a browser to the provider.
async fn login(
    State(auth): State<Auth>,
    Path(provider): Path<String>,
    Query(query): Query<LoginQuery>,
) -> Result<Response, Problem> {
    let departure = auth.depart(&provider, &query.return_to).await?;
    let cookie = Cookie::SignIn.set(&departure.handle, oauth::PATIENCE);
    Ok(found(&departure.location, [Some(cookie), None]))
}

#[derive(Deserialize)]
struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
}

/// A browser comes back from the provider.
async fn callback(
    State(auth): State<Auth>,
    Path(provider): Path<String>,
    Query(query): Query<CallbackQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let handle = Cookie::SignIn.find(&headers).ok_or(AuthError::Oauth(OauthError::UnknownSignIn))?;
    let clear = Cookie::SignIn.clear();
    if let (Some(code), Some(state)) = (&query.code, &query.state) {
        let (pair, return_to) = auth.arrive(&provider, code, state, handle, client(&headers)).await?;
        let (_, refresh_token) = pair.split();
        let cookie = Cookie::Refresh.set(&refresh_token, auth.refresh_idle());
        return Ok(found(&return_to, [Some(clear), Some(cookie)]));
    }
    // The person changed their mind, or the provider did; that is no fault, and they are where they were.
    tracing::info!(
        provider,
        error = query.error.as_deref().unwrap_or("none").escape_debug().to_string(),
        "no code"
    );
    let return_to = auth.give_up(handle).await?;
    Ok(found(&return_to, [Some(clear), None]))
}

fn found(location: &str, cookies: [Option<(header::HeaderName, HeaderValue)>; 2]) -> Response {
    let mut response = (StatusCode::FOUND, [NO_STORE]).into_response();
    // A path of ours, or what the crate for URLs has written.
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    for (name, value) in cookies.into_iter().flatten() {
        response.headers_mut().append(name, value);
    }
    response
}

#[derive(Default, Deserialize)]
struct Body {
    refresh_token: Option<String>,
}

/// Where a refresh token came from; its successor goes there too.
enum Source {
    Body(String),
    Cookie(String),
}

/// The refresh token of the body, else of the cookie, which a page of this site alone may use.
fn source(auth: &Auth, headers: &HeaderMap, body: &Bytes) -> Result<Option<Source>, Problem> {
    if !body.is_empty() && !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Expected application/json.",
        ));
    }
    let parsed = if body.is_empty() { Ok(Body::default()) } else { serde_json::from_slice::<Body>(body) };
    let parsed = parsed.map_err(|_| {
        Problem::unprocessable("invalid-body", "Expected {\"refresh_token\": …}, or {} and the cookie.")
    })?;
    if let Some(token) = parsed.refresh_token {
        return Ok(Some(Source::Body(token)));
    }
    let Some(token) = Cookie::Refresh.find(headers) else { return Ok(None) };
    if !is_json(headers) || !is_of_this_site(headers, auth.public_url()) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            "The cookie counts in JSON requests of this site's own pages only.",
        ));
    }
    Ok(Some(Source::Cookie(token.to_owned())))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

async fn refresh(State(auth): State<Auth>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    match source(&auth, &headers, &body)? {
        Some(Source::Body(token)) => Ok(tokens(auth.refresh(&token).await?)),
        Some(Source::Cookie(token)) => match auth.refresh(&token).await {
            Ok(pair) => Ok(by_cookie(&auth, pair)),
            // Nothing can come of it any more.
            Err(
                error
                @ (AuthError::InvalidRefreshToken | AuthError::RefreshTokenReused | AuthError::UserGone),
            ) => {
                let (name, value) = Cookie::Refresh.clear();
                Err(Problem::from(error).with_header(name, value))
            }
            Err(error) => Err(error.into()),
        },
        None => Err(Problem::unauthorized("refresh-token-missing", "This takes a refresh token.")),
    }
}

fn by_cookie(auth: &Auth, pair: TokenPair) -> Response {
    let (access_token, refresh_token) = pair.split();
    let cookie = Cookie::Refresh.set(&refresh_token, auth.refresh_idle());
    ([NO_STORE, cookie], Json(access_token)).into_response()
}

/// The refresh token goes first: who signs out may hold an access token that has expired.
async fn logout(
    State(auth): State<Auth>,
    user: Result<CurrentUser, Problem>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    match source(&auth, &headers, &body)? {
        Some(Source::Body(token)) => auth.sign_out_by_refresh_token(&token).await?,
        Some(Source::Cookie(token)) => {
            auth.sign_out_by_refresh_token(&token).await?;
            return Ok((StatusCode::NO_CONTENT, [Cookie::Refresh.clear()]).into_response());
        }
        None => auth.sign_out(&user?.session_id).await?,
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
