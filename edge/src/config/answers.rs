//! What the edge answers by itself, and what its answers carry: redirects, fixed answers, fields, CORS, HSTS.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, Uri};
use toml::Spanned;

use super::file;
use super::policy::Hsts;
use super::route::{Cors, Fields, FixedAnswer, Redirect, is_local, origin};
use super::routes::method;
use super::told::Told;

/// Fields that the edge or the service decides for each answer: a fixed value would be a lie, or break the framing.
const OWN_FIELDS: [&str; 25] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "location",
    "proxy-authenticate",
    "proxy-connection",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
    "x-request-id",
];

/// RFC 6797 asks for no upper bound; two years is what browsers' own lists ask for.
const MAX_HSTS_SECONDS: u64 = 2 * 365 * 24 * 3600;

pub(super) fn fields(named: &file::Fields, told: &mut Told<'_>) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in named {
        let Some(parsed) = told.one(name, field_name) else { continue };
        if fields.iter().any(|(known, _)| *known == parsed) {
            told.about(name, format!("the field `{parsed}` is named twice"));
        }
        let text = value.get_ref().trim();
        match HeaderValue::from_str(text) {
            // No control byte comes this far, and so none splits an answer.
            Ok(value) if text.is_ascii() => fields.push((parsed, (!text.is_empty()).then_some(value))),
            _ => told.about(value, format!("the value of `{parsed}` has a byte that no field may have")),
        }
    }
    fields
}

fn field_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is no field's name"))?;
    match name.as_str() {
        "strict-transport-security" => Err(format!("`{text}` is set by `[hsts]`")),
        cors if cors.starts_with("access-control-") => Err(format!("`{text}` is set by a route's `cors`")),
        own if OWN_FIELDS.contains(&own) => Err(format!("`{text}` is the answer's own; no policy sets it")),
        _ => Ok(name),
    }
}

pub(super) fn hsts(entry: Spanned<file::Hsts>, hosts: &[String], told: &mut Told<'_>) -> Hsts {
    let start = entry.span().start;
    let file::Hsts { hosts: named, max_age_seconds, include_subdomains } = entry.into_inner();
    if max_age_seconds > MAX_HSTS_SECONDS {
        told.at(start, format!("`max_age_seconds` is at most {MAX_HSTS_SECONDS}, two years"));
    }
    let mut indices = told.each(&named, |name| host(name, hosts));
    // A browser would keep every other program on this machine from plain HTTP.
    indices.retain(|index| !is_local(&hosts[*index]));
    let subdomains = if include_subdomains { "; includeSubDomains" } else { "" };
    let value = format!("max-age={max_age_seconds}{subdomains}");
    Hsts { hosts: indices, value: HeaderValue::from_str(&value).expect("a number and plain words") }
}

/// The index of a name that the gateway answers for.
pub(super) fn host(name: &str, hosts: &[String]) -> Result<usize, String> {
    hosts
        .iter()
        .position(|host| host.eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("`{name}` is not one of the gateway's `hosts`"))
}

pub(super) fn redirect(entry: &Spanned<file::Redirect>, told: &mut Told<'_>) -> Option<Redirect> {
    let file::Redirect { to, status, keep_path } = entry.get_ref();
    let code = status.as_ref().map_or(StatusCode::PERMANENT_REDIRECT.as_u16(), |status| *status.get_ref());
    if !matches!(code, 301 | 302 | 307 | 308) {
        let offset = status.as_ref().map_or(entry.span().start, |status| status.span().start);
        told.at(offset, format!("a redirect's status is 301, 302, 307 or 308, not {code}"));
    }
    let to = told.one(to, |to| location(to, *keep_path))?;
    Some(Redirect { to, status: StatusCode::from_u16(code).ok()?, keep_path: *keep_path })
}

/// Nothing of it comes from the request, so that no client can choose where others are sent.
fn location(to: &str, keep_path: bool) -> Result<String, String> {
    let bad = || Err(format!("`{to}` is neither a path of this host nor an https:// URL"));
    if !to.bytes().all(|byte| byte.is_ascii_graphic()) || to.contains('\\') {
        return bad();
    }
    let Ok(uri) = to.parse::<Uri>() else { return bad() };
    let is_path = to.starts_with('/') && !to.starts_with("//") && uri.authority().is_none();
    let is_https = uri.scheme_str() == Some("https")
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !is_path && !is_https {
        return bad();
    }
    if !keep_path {
        return Ok(to.to_owned());
    }
    if to.contains(['?', '#']) {
        return Err(format!("`{to}` can't keep the path: it has a query or a fragment already"));
    }
    Ok(to.strip_suffix('/').unwrap_or(to).to_owned())
}

pub(super) fn fixed(entry: &Spanned<file::Respond>, told: &mut Told<'_>) -> Option<FixedAnswer> {
    let file::Respond { status, content_type, body } = entry.get_ref();
    let code = StatusCode::from_u16(*status.get_ref()).ok();
    let code = code.filter(|code| !code.is_informational() && !code.is_redirection() && code.as_u16() < 600);
    let Some(code) = code else {
        told.about(status, "a fixed answer's status is 2xx, 4xx or 5xx; `redirect` sends elsewhere");
        return None;
    };
    if matches!(code, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) && !body.is_empty() {
        told.about(entry, format!("an answer with status {} has no body", code.as_u16()));
    }
    let content_type = match content_type {
        None => HeaderValue::from_static("text/plain; charset=utf-8"),
        Some(text) => told.one(text, |text| {
            HeaderValue::from_str(text)
                .ok()
                .filter(|_| text.is_ascii() && text.contains('/'))
                .ok_or_else(|| format!("`{text}` is not a media type"))
        })?,
    };
    Some(FixedAnswer { status: code, content_type, body: body.clone() })
}

pub(super) fn cors(entry: &Spanned<file::Cors>, told: &mut Told<'_>) -> Cors {
    let file::Cors { origins, methods, headers, credentials, max_age_seconds } = entry.get_ref();
    let is_open = origins.iter().any(|origin| origin.get_ref() == "*");
    if origins.is_empty() {
        told.about(entry, "`origins` is empty: nobody could ask");
    }
    if is_open && origins.len() > 1 {
        told.about(entry, "`*` is every origin; name it alone");
    }
    if is_open && *credentials {
        told.about(entry, "`*` with `credentials`: every page could act as whoever is signed in");
    }
    if methods.is_empty() {
        told.about(entry, "`methods` is empty: nothing could be asked");
    }
    let header = |text: &str| match text {
        // Of a request with credentials `*` is a name like any other, and browsers differ.
        "*" => Err("`*` is no field's name; name those that pages send".to_owned()),
        _ => HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is no field's name")),
    };
    Cors {
        origins: if is_open { None } else { Some(told.each(origins, origin)) },
        methods: told.each(methods, method),
        headers: told.each(headers, header),
        credentials: *credentials,
        max_age: Duration::from_secs((*max_age_seconds).into()),
    }
}
