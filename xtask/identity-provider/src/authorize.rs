//! The authorization endpoint (RFC 6749, section 4.1.1; PKCE: RFC 7636): a page to pick a user, without a password.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use url::{Host, Url};

use crate::CLIENT_ID;
use crate::issuer::Issuer;

/// What is asked for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Request {
    client_id: String,
    redirect_uri: String,
    response_type: String,
    #[serde(default)]
    scope: String,
    state: Option<String>,
    nonce: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    login_hint: Option<String>,
}

/// What a code stands for.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) sub: String,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
    pub(crate) code_challenge: String,
}

pub(crate) async fn authorize(
    State(issuer): State<Arc<Issuer>>,
    RawQuery(query): RawQuery,
    request: Result<Query<Request>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Query(request) = match request {
        Ok(request) => request,
        Err(rejection) => return (StatusCode::BAD_REQUEST, rejection.body_text()).into_response(),
    };
    // Until these two are known to be right, nobody is sent anywhere.
    let redirect_uri = match redirect_uri(&request.redirect_uri, issuer.persona.id()) {
        Ok(url) => url,
        Err(fault) => return (StatusCode::BAD_REQUEST, fault).into_response(),
    };
    if request.client_id != CLIENT_ID {
        return (StatusCode::BAD_REQUEST, "there is no such client").into_response();
    }
    if let Err((error, description)) = check(&issuer, &request) {
        return back(redirect_uri, &request, &[("error", error), ("error_description", &description)]);
    }
    let Some(sub) = request.login_hint.clone() else {
        return Html(page(&issuer, query.as_deref().unwrap_or_default())).into_response();
    };
    let code = issuer.codes.give(Grant {
        sub,
        redirect_uri: request.redirect_uri.clone(),
        scope: request.scope.clone(),
        nonce: request.nonce.clone(),
        code_challenge: request.code_challenge.clone().unwrap_or_default(),
    });
    back(redirect_uri, &request, &[("code", &code)])
}

/// The client's own callback on this machine. A real provider knows it by registration.
fn redirect_uri(text: &str, provider: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("redirect_uri: {error}"))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    };
    if !is_local || url.path() != format!("/api/auth/callback/{provider}") {
        return Err(format!("redirect_uri: /api/auth/callback/{provider} of this machine, and nothing else"));
    }
    Ok(url)
}

/// What is told to the client, by the browser.
fn check(issuer: &Issuer, request: &Request) -> Result<(), (&'static str, String)> {
    if request.response_type != "code" {
        return Err(("unsupported_response_type", "`code` only".into()));
    }
    if request.code_challenge_method.as_deref() != Some("S256") || request.code_challenge.is_none() {
        return Err(("invalid_request", "a code_challenge by S256 is needed".into()));
    }
    if let Some(scope) = issuer.persona.forbidden_scope(&request.scope) {
        return Err(("invalid_scope", format!("KOE205: {scope} needs a business app")));
    }
    if let Some(sub) = &request.login_hint {
        issuer.persona.check_sub(sub).map_err(|fault| ("invalid_request", fault))?;
    }
    Ok(())
}

fn back(mut redirect_uri: Url, request: &Request, fields: &[(&str, &str)]) -> Response {
    {
        let mut query = redirect_uri.query_pairs_mut();
        query.extend_pairs(fields);
        if let Some(state) = &request.state {
            query.append_pair("state", state);
        }
    }
    // 303: a browser that came by POST goes on by GET.
    Redirect::to(redirect_uri.as_str()).into_response()
}

fn page(issuer: &Issuer, query: &str) -> String {
    let (name, path) = (issuer.persona.name(), issuer.persona.id());
    let link = |sub: &str, name: &str| {
        format!(
            "<li><a href=\"/{path}/authorize?{}&amp;login_hint={sub}\">{name}</a> <small>{sub}</small></li>",
            escape(query)
        )
    };
    let people: String = issuer.persona.people().iter().map(|person| link(person.sub, person.name)).collect();
    format!(
        "<!doctype html>\n<html lang=\"ko\">\n<meta charset=\"utf-8\">\n<title>{name} (development)</title>\n\
         <h1>{name}</h1>\n<p>Development: whom shall it be? No password is asked for.</p>\n<ul>{people}</ul>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_callback_gets_a_code() {
        for good in [
            "https://localhost:8443/api/auth/callback/google",
            "http://127.0.0.1/api/auth/callback/google",
            "https://[::1]:8443/api/auth/callback/google",
        ] {
            assert!(redirect_uri(good, "google").is_ok(), "{good}");
        }
        for bad in [
            "https://evil.example/api/auth/callback/google",
            "https://localhost:8443/api/auth/callback/kakao",
            "https://localhost:8443/other",
            "//localhost/api/auth/callback/google",
            "javascript:alert(1)",
        ] {
            assert!(redirect_uri(bad, "google").is_err(), "{bad}");
        }
    }
}
