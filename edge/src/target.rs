//! What a request is for: its host and its path, read once from the request line and fields, and written back
//! canonical.

use http::uri::InvalidUri;
use http::{HeaderMap, StatusCode, Uri, Version, header};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType};

use crate::config::ConnectionPolicy;
use crate::problem::Problem;

/// Refuses a header that is larger than any of ours (RFC 6585, section 5; RFC 9110, section 15.5.15). One of HTTP/1 has
/// passed the front door; one of HTTP/2 is counted here first.
pub fn check_size(request: &RequestHeader, limits: &ConnectionPolicy) -> Result<(), Problem> {
    let ConnectionPolicy { max_header_fields, max_header_bytes, max_target_bytes, .. } = *limits;
    let bytes: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if request.headers.len() > max_header_fields || bytes > max_header_bytes {
        let detail =
            format!("A request has {max_header_fields} fields and {max_header_bytes} bytes of them at most.");
        return Err(Problem::new("header-too-large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
    }
    if request.raw_path().len() > max_target_bytes {
        let detail = format!("A path with its query has {max_target_bytes} bytes at most.");
        return Err(Problem::new("target-too-long", StatusCode::URI_TOO_LONG, detail));
    }
    Ok(())
}

/// Refuses a body that says itself that it is too long, before anybody is bothered with it.
pub fn check_length(headers: &HeaderMap, most_bytes: u64) -> Result<(), Problem> {
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    match length {
        Some(length) if length > most_bytes => Err(Problem::body_too_large(most_bytes)),
        _ => Ok(()),
    }
}

/// The one name that a request is for. HTTP/1.1 has a Host field, HTTP/2 an `:authority`; two names are none.
pub fn authority(request: &RequestHeader) -> Result<&str, Problem> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(Problem::bad_request("The request has several Host fields."));
    }
    let host = host
        .map(|value| value.to_str().map_err(|_| Problem::bad_request("The Host is not readable.")))
        .transpose()?;
    match (host, request.uri.authority()) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority.as_str()) => {
            Err(Problem::bad_request("Host and the request's authority differ."))
        }
        (Some(host), _) => Ok(host),
        (None, Some(authority)) => Ok(authority.as_str()),
        (None, None) => Err(Problem::bad_request("The request has no Host.")),
    }
}

/// The path as it was sent. Pingora's URI has illegal bytes escaped already; they are to be refused instead. Of an
/// absolute target (RFC 9112, section 3.2.2) Pingora has checked that its authority is the Host.
pub fn raw_path(request: &RequestHeader) -> Result<&str, Problem> {
    if request.uri.authority().is_some() {
        return Ok(request.uri.path());
    }
    let target = std::str::from_utf8(request.raw_path())
        .map_err(|_| Problem::bad_request("The path has an illegal byte."))?;
    // The query goes first: it may hold slashes of its own.
    let target = target.split_once('?').map_or(target, |(path, _)| path);
    match target.split_once("://") {
        Some(("http" | "https", rest)) => Ok(rest.find('/').map_or("/", |slash| &rest[slash..])),
        _ => Ok(target),
    }
}

/// The query as it is forwarded, without its `?`; empty where there is none.
pub fn raw_query(request: &RequestHeader) -> &str {
    request.uri.query().unwrap_or_default()
}

/// Whether the request's target, byte for byte, is the canonical path and perhaps a query.
pub fn is_canonical(request: &RequestHeader, path: &str) -> bool {
    match request.raw_path().strip_prefix(path.as_bytes()) {
        Some(rest) => matches!(rest.first(), None | Some(b'?')),
        None => false,
    }
}

/// The same URI with the canonical path. HTTP/2 keeps its authority, which becomes the Host; an absolute HTTP/1.1
/// target becomes a plain path.
pub fn with_path(uri: &Uri, path: &str, version: Version) -> pingora::Result<Uri> {
    let mut parts = uri.clone().into_parts();
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let path_and_query = path_and_query.parse().map_err(|error: InvalidUri| {
        Error::because(ErrorType::HTTPStatus(400), "the canonical path makes no URI", error)
    })?;
    parts.path_and_query = Some(path_and_query);
    if version != Version::HTTP_2 {
        parts.scheme = None;
        parts.authority = None;
    }
    Uri::from_parts(parts)
        .map_err(|error| Error::because(ErrorType::HTTPStatus(400), "the canonical path makes no URI", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(target: &str) -> String {
        let request = RequestHeader::build("GET", target.as_bytes(), None).expect("a request");
        raw_path(&request).expect("a path").to_owned()
    }

    #[test]
    fn the_path_of_a_target_ends_at_its_query_and_begins_behind_its_authority() {
        assert_eq!(path_of("/a/b?c=/d"), "/a/b");
        assert_eq!(path_of("/a://b"), "/a://b");
        assert_eq!(path_of("https://localhost/a?b"), "/a");
        assert_eq!(path_of("https://localhost?x=/admin"), "/");
    }
}
