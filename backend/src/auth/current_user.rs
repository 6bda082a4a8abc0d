//! The user on whose behalf a request comes: the one part of sign-in that other features know.

use access_token::{Claims, Role, TokenError};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use tokio::sync::watch;

use crate::auth::tokens::AccessTokens;
use crate::problem::Problem;

/// The caller, proven by the access token of this request. As an extractor it answers 401 without one;
/// `Option<CurrentUser>` takes a request without a token too, and still refuses a wrong one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentUser {
    /// The user's id.
    pub id: String,
    /// The session that the token belongs to.
    pub session_id: String,
    /// What the user may do.
    pub role: Role,
    /// When the token was issued, in milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// When it ends, in seconds since the Unix epoch.
    pub expires_at: u64,
}

impl CurrentUser {
    /// 403 unless the user may do what `role` may.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            Ok(())
        } else {
            Err(Problem::forbidden(format!("This takes the role {role}.")))
        }
    }
}

impl From<&Claims> for CurrentUser {
    fn from(claims: &Claims) -> Self {
        let (id, session_id) = (claims.sub.clone(), claims.sid.clone());
        Self { id, session_id, role: claims.role, issued_ms: claims.issued_ms(), expires_at: claims.exp }
    }
}

/// Recognises users by their access tokens; `app.rs` lays it under all routes as an extension.
#[derive(Clone)]
pub struct Authenticator(AccessTokens);

impl Authenticator {
    /// Accepts these tokens.
    pub fn new(tokens: AccessTokens) -> Self {
        Self(tokens)
    }

    /// The user whom the token proves.
    pub fn recognise(&self, token: &str) -> Result<CurrentUser, TokenError> {
        self.0.verify(token).map(|claims| CurrentUser::from(&*claims))
    }

    /// Whether a token like the one that proved this user has been revoked since.
    pub fn is_revoked(&self, user_id: &str, session_id: &str, issued_ms: u64) -> bool {
        self.0.revoked().revocations().are_revoked(session_id, user_id, issued_ms)
    }

    /// Hears of each revocation from now on.
    pub fn revocations(&self) -> watch::Receiver<()> {
        self.0.revoked().changes()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let token = bearer_token(&parts.headers)?
            .ok_or_else(|| Problem::unauthorized("token-missing", "This takes an access token."))?;
        recognise(parts, token)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        match bearer_token(&parts.headers)? {
            Some(token) => recognise(parts, token).map(Some),
            None => Ok(None),
        }
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750, section 2.1), if the header is there.
fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|_| values.next().is_none());
    token.map(Some).ok_or_else(|| invalid_token("Expected one `Authorization: Bearer` header."))
}

fn recognise(parts: &Parts, token: &str) -> Result<CurrentUser, Problem> {
    let Some(authenticator) = parts.extensions.get::<Authenticator>() else {
        return Err(Problem::internal(&"no authenticator is laid under this route"));
    };
    authenticator.recognise(token).map_err(|error| match error {
        TokenError::Expired => invalid_token("The token has expired."),
        TokenError::Revoked => invalid_token("The token has been revoked."),
        _ => invalid_token("The token is not valid."),
    })
}

/// 401 with the error code of RFC 6750, section 3.1.
fn invalid_token(detail: &'static str) -> Problem {
    Problem::unauthorized("invalid-token", detail)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, value.parse().expect("a header's value"))).collect()
    }

    #[test]
    fn one_bearer_token_is_taken_whatever_the_case_of_the_scheme() {
        assert_eq!(bearer_token(&headers(&["bearer abc"])).ok(), Some(Some("abc")));
        assert_eq!(bearer_token(&headers(&[])).ok(), Some(None));
    }

    #[test]
    fn another_scheme_or_a_second_header_is_refused() {
        for bad in [&["Basic abc"][..], &["Bearer"], &["Bearer a", "Bearer b"]] {
            assert!(bearer_token(&headers(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_role_includes_the_lesser_ones() {
        let user =
            |role| CurrentUser { id: "u".into(), session_id: "s".into(), role, issued_ms: 0, expires_at: 0 };
        assert!(user(Role::Admin).require(Role::Vendor).is_ok());
        assert!(user(Role::User).require(Role::Vendor).is_err());
    }
}
