//! Compression of answers: which coding the client likes best, whether an answer may be compressed at all, and the
//! encoders, which together have a bound. Pingora's own module takes the first coding that is named, whatever its weight.

mod accept;
mod encoder;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

pub use accept::{Accepted, Chosen};
pub use encoder::{Encoder, Encoders};

use crate::config::{Coding, CompressionPolicy};

/// Fields that say what the bytes of a body are: they would be wrong of a compressed one.
const OF_BYTES: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// With which method.
    pub method: &'a Method,
    /// In which version; HTTP/1.0 has no body without a length.
    pub version: Version,
    /// With which fields.
    pub headers: &'a HeaderMap,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is, whoever asks.
    AsItIs,
    /// This one stays as it is; one to another client might not.
    Varies,
    /// It is compressed.
    Compressed(Coding),
}

/// Whether a service's answer is compressed, and how.
pub fn decide(
    policy: &CompressionPolicy,
    asked: &Asked<'_>,
    status: StatusCode,
    answer: &HeaderMap,
) -> Decision {
    if status == StatusCode::NOT_MODIFIED {
        return Decision::Varies;
    }
    if !has_body(status) || !may_change(asked.headers, answer) || !is_worth_it(policy, answer) {
        return Decision::AsItIs;
    }
    match Accepted::of(asked.headers).choose(policy.codings.iter().copied()) {
        Chosen::Coded(coding) if *asked.method != Method::HEAD && asked.version > Version::HTTP_10 => {
            Decision::Compressed(coding)
        }
        _ => Decision::Varies,
    }
}

/// A part of a body is bytes of a representation that the client may have the rest of.
fn has_body(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT)
}

/// What sets a cookie is left alone: from the length of what is compressed with a secret, the secret can be guessed
/// (BREACH).
fn may_change(request: &HeaderMap, answer: &HeaderMap) -> bool {
    let is_coded = answer.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity");
    let is_pinned = OF_BYTES.iter().any(|name| answer.contains_key(*name));
    !is_coded
        && !is_pinned
        && !answer.contains_key(header::SET_COOKIE)
        && !answer.contains_key(header::CONTENT_RANGE)
        && !has_directive(request, "no-transform")
        && !has_directive(answer, "no-transform")
}

fn is_worth_it(policy: &CompressionPolicy, answer: &HeaderMap) -> bool {
    let length = answer.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.is_none_or(|length: u64| length >= policy.min_bytes.max(1))
        && answer.get(header::CONTENT_TYPE).is_some_and(is_compressible)
}

fn has_directive(headers: &HeaderMap, directive: &str) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(directive))
}

/// Whether bodies of this media type become shorter. A stream of events stays as it is: it would hold an encoder for as
/// long as it lasts.
pub fn is_compressible(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("text", "event-stream")) => false,
        Some(("text", _)) => true,
        Some((_, subtype)) if subtype.ends_with("+json") || subtype.ends_with("+xml") => true,
        Some(("application", "json" | "javascript" | "xml" | "wasm")) => true,
        _ => false,
    }
}

/// The validator of a body whose bytes are no longer those that it was made for (RFC 9110, section 8.8.1).
pub fn weakened(etag: &HeaderValue) -> Option<HeaderValue> {
    let bytes = etag.as_bytes();
    match bytes.starts_with(b"W/") {
        true => None,
        false => HeaderValue::from_bytes(&[b"W/", bytes].concat()).ok(),
    }
}

/// `Vary: Accept-Encoding`.
pub const VARY: (HeaderName, HeaderValue) = (header::VARY, HeaderValue::from_static("accept-encoding"));

/// Whether an answer says already that it depends on what is accepted.
pub fn varies(answer: &HeaderMap) -> bool {
    let values = answer.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',').map(str::trim));
    names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding"))
}

#[cfg(test)]
mod tests;
