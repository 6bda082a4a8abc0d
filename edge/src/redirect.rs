//! Plain HTTP: every request is sent to the same address over HTTPS, but those of a CA that wants to see whose the host
//! is (RFC 8555, section 8.3).

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use uuid::Uuid;

use crate::acme::Acme;
use crate::path::canonicalise;
use crate::problem::{self, Problem};

/// Answers 308 to the HTTPS address, or a problem where there is none.
pub struct RedirectToHttps {
    hosts: ArcSwap<Vec<String>>,
    https_port: u16,
    acme: Option<Arc<Acme>>,
}

const CHALLENGES: &str = "/.well-known/acme-challenge/";

impl RedirectToHttps {
    /// Redirects requests for `hosts` to the same host at `https_port`.
    /// What a CA asks for, `acme` answers.
    pub fn new(hosts: Vec<String>, https_port: u16, acme: Option<Arc<Acme>>) -> Self {
        Self { hosts: ArcSwap::from_pointee(hosts), https_port, acme }
    }

    /// From now on these are the hosts.
    pub fn change(&self, hosts: Vec<String>) {
        self.hosts.store(Arc::new(hosts));
    }

    fn challenge_answer(&self, request: &RequestHeader) -> Option<String> {
        let token = request.uri.path().strip_prefix(CHALLENGES)?;
        if request.method != Method::GET {
            return None;
        }
        self.acme.as_ref()?.http_answer(token)
    }

    fn location(&self, host: Option<&HeaderValue>, uri: &http::Uri) -> Result<String, Problem> {
        let authority = host
            .and_then(|value| value.to_str().ok())
            .or(uri.authority().map(http::uri::Authority::as_str))
            .ok_or_else(|| Problem::bad_request("The request has no Host."))?;
        let name = host_name(authority).to_ascii_lowercase();
        // Only a name of ours goes into the Location: never a redirect to wherever a client says.
        if !self.hosts.load().contains(&name) {
            return Err(Problem::misdirected());
        }
        let path = canonicalise(uri.path()).map_err(|error| Problem::bad_request(error.to_string()))?;
        let port = if self.https_port == 443 { String::new() } else { format!(":{}", self.https_port) };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(format!("https://{name}{port}{path}{query}"))
    }
}

/// The host of an authority, without its port; an IPv6 address keeps its brackets.
pub fn host_name(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

#[async_trait]
impl ServeHttp for RedirectToHttps {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request_id = Uuid::now_v7().to_string();
        let request = session.req_header();
        if let Some(answer) = self.challenge_answer(request) {
            let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            return respond(StatusCode::OK, content_type, answer, request_id);
        }
        let location = self.location(request.headers.get(header::HOST), &request.uri);
        let location = location.and_then(|text| {
            HeaderValue::from_str(&text).map_err(|_| Problem::bad_request("The address has an illegal byte."))
        });
        match location {
            Ok(location) => respond(
                StatusCode::PERMANENT_REDIRECT,
                (header::LOCATION, location),
                String::new(),
                request_id,
            ),
            Err(problem) => {
                let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
                respond(problem.status, content_type, problem.body(&request_id), request_id)
            }
        }
    }
}

fn respond(
    status: StatusCode,
    field: (HeaderName, HeaderValue),
    body: String,
    request_id: String,
) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header(field.0, field.1)
        .header(header::CONTENT_LENGTH, body.len())
        .header("x-request-id", request_id)
        .body(body.into_bytes())
        .expect("checked fields make a response")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_authority_is_found() {
        for (authority, host) in [
            ("a.example", "a.example"),
            ("a.example:80", "a.example"),
            ("[::1]:8000", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host_name(authority), host);
        }
    }

    #[test]
    fn a_redirect_goes_to_a_host_of_ours_only() {
        let redirect = RedirectToHttps::new(vec!["localhost".into()], 8443, None);
        let to = |host: &'static str, uri: &str| {
            redirect.location(Some(&HeaderValue::from_static(host)), &uri.parse().expect("a URI"))
        };
        assert_eq!(to("localhost:8000", "/a?b=c").expect("a location"), "https://localhost:8443/a?b=c");
        assert!(to("evil.example", "/").is_err());
        assert!(to("localhost", "/%0d%0aSet-Cookie:x").is_err());
    }
}
