//! What a file's name says: its media type, for how long it may be kept, whether a client may see it.

use std::path::Path;

use http::HeaderValue;

/// A name with a hash of its content never means another content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Asked again each time, answered with 304: an edit shows at once.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

const MIN_HASH_CHARACTERS: usize = 8;

pub(super) fn cache_control(file: &Path) -> HeaderValue {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if has_hash(name) { IMMUTABLE } else { ASK_AGAIN }
}

/// `app.3f9a2c1b.js`, `app-3f9a2c1b.js`. The rule: before the extension stands, behind a dot or a hyphen, a word of at least
/// eight hex digits, or of at least eight characters of base32 (RFC 4648: letters of one case, and 2 to 7), that has both a
/// digit and a letter. A date or a word is none.
fn has_hash(name: &str) -> bool {
    let Some((stem, _)) = name.rsplit_once('.') else { return false };
    let Some((_, word)) = stem.rsplit_once(['.', '-']) else { return false };
    let all = |is: fn(u8) -> bool| word.bytes().all(is);
    let is_hex = all(|byte| byte.is_ascii_hexdigit());
    let is_base32 = all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'2'..=b'7'))
        || all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'));
    word.len() >= MIN_HASH_CHARACTERS
        && (is_hex || is_base32)
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

pub(super) fn content_type(file: &Path) -> HeaderValue {
    let guess = mime_guess::from_path(file).first_or_octet_stream();
    let text = match guess.type_().as_str() {
        "text" => format!("{}; charset=utf-8", guess.essence_str()),
        _ => guess.essence_str().to_owned(),
    };
    HeaderValue::from_str(&text).expect("a media type is ASCII")
}

/// Whether a canonical path's last name has an extension: it is a file's, never a page's of a single-page application.
pub(super) fn has_extension(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_hash_may_be_kept_for_ever() {
        for name in [
            "app.3f9a2c1b.js",
            "app-3f9a2c1b.js",
            "a.b.0123456789ABCDEF.css",
            "chunk-mfrgg2df.js",
            "logo.MFRGG2DF.svg",
        ] {
            assert!(has_hash(name), "{name}");
        }
        for name in [
            "app.js",
            "3f9a2c1b.js",
            "app.3f9a2c1.js",
            "app.deadbeef.js",
            "report-20240101.pdf",
            "minutes-2024summary.txt",
            "app.3f9a2c1b.js.map",
            "app-Mfrgg2df.js",
            "app.3f9a2c1b",
            "jquery-3.7.1.min.js",
        ] {
            assert!(!has_hash(name), "{name}");
        }
    }

    #[test]
    fn a_media_type_is_known_by_the_name() {
        for (name, expected) in [
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.html", "text/html; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.js.br", "application/octet-stream"),
            ("a", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_page_has_no_extension() {
        assert!(
            has_extension("/a/b.js")
                && has_extension("/.x")
                && !has_extension("/a.b/c")
                && !has_extension("/")
        );
    }
}
