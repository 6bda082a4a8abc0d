//! One canonical form of a request's path. What is matched is what is forwarded.

use std::borrow::Cow;

/// Longer paths are refused.
const MAX_BYTES: usize = 4096;

/// Why a path has no canonical form. Every one is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It doesn't start with a slash (`*`, an authority, nothing).
    #[error("The path does not start with a slash.")]
    NotAbsolute,
    /// A byte that may not stand in a path: a control, a backslash, a semicolon, a byte above ASCII.
    #[error("The path has an illegal byte.")]
    IllegalByte,
    /// A percent sign without two hex digits.
    #[error("The path has a broken percent-encoding.")]
    BrokenEncoding,
    /// An encoded slash, backslash, NUL or other control: hosts disagree on what they mean.
    #[error("The path hides a separator or a control in an encoding.")]
    HiddenByte,
    /// More than 4,096 bytes.
    #[error("The path is too long.")]
    TooLong,
}

/// The canonical form: unreserved characters decoded (once), others upper-case percent-encoded, no empty or dot
/// segments (RFC 3986, section 6.2.2). A trailing slash stays. Borrows when the path is canonical already.
pub fn canonicalise(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if raw.len() > MAX_BYTES {
        return Err(PathError::TooLong);
    }
    if !raw.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let decoded = decode_unreserved(raw)?;
    if !decoded.contains("//") && !decoded.contains("/.") {
        return Ok(decoded);
    }
    Ok(Cow::Owned(remove_dot_segments(&decoded)))
}

fn decode_unreserved(raw: &str) -> Result<Cow<'_, str>, PathError> {
    let bytes = raw.as_bytes();
    if let Some(byte) = bytes.iter().find(|byte| !is_path_byte(**byte)) {
        debug_assert!(*byte != b'/');
        return Err(PathError::IllegalByte);
    }
    if !bytes.contains(&b'%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            decoded.push(char::from(*first));
            rest = tail;
            continue;
        }
        let [high, low, after @ ..] = tail else { return Err(PathError::BrokenEncoding) };
        let byte = (hex(*high)? << 4) | hex(*low)?;
        match byte {
            0..=0x1f | 0x7f | b'/' | b'\\' => return Err(PathError::HiddenByte),
            b if is_unreserved(b) => decoded.push(char::from(b)),
            b => decoded.push_str(&format!("%{b:02X}")),
        }
        rest = after;
    }
    Ok(Cow::Owned(decoded))
}

fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_with_slash = true;
    for segment in path[1..].split('/') {
        match segment {
            "" | "." => ends_with_slash = true,
            ".." => {
                kept.pop();
                ends_with_slash = true;
            }
            name => {
                kept.push(name);
                ends_with_slash = false;
            }
        }
    }
    let mut canonical = String::with_capacity(path.len());
    for segment in &kept {
        canonical.push('/');
        canonical.push_str(segment);
    }
    if ends_with_slash {
        canonical.push('/');
    }
    canonical
}

/// `pchar` and `/` of RFC 3986, without the semicolon: path parameters are read differently by every server.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte) || b"%/:@!$&'()*+,=".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn hex(digit: u8) -> Result<u8, PathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathError::BrokenEncoding),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn detours_to_a_path_become_the_path() {
        for raw in ["/admin", "//admin", "/./admin", "/x/../admin", "/%61dmin", "/%2e/admin", "/../admin"] {
            assert_eq!(canonicalise(raw).as_deref(), Ok("/admin"), "{raw}");
        }
        assert_eq!(canonicalise("/admin/.").as_deref(), Ok("/admin/"));
        assert_eq!(canonicalise("/admin/x/..").as_deref(), Ok("/admin/"));
        assert_eq!(canonicalise("/..").as_deref(), Ok("/"));
    }

    #[test]
    fn an_encoding_is_decoded_once() {
        assert_eq!(canonicalise("/%2561dmin").as_deref(), Ok("/%2561dmin"));
        assert_eq!(canonicalise("/caf%c3%a9").as_deref(), Ok("/caf%C3%A9"));
        assert_eq!(canonicalise("/a%3bb").as_deref(), Ok("/a%3Bb"));
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for raw in ["/%2Fadmin", "/x%2f..%2fadmin", "/%5cadmin", "/admin%00", "/a%0d%0ab"] {
            assert_eq!(canonicalise(raw), Err(PathError::HiddenByte), "{raw}");
        }
        for raw in ["/\\admin", "/admin;x", "/;/admin", "/a b", "/a\u{e9}", "/a?b", "/a#b"] {
            assert_eq!(canonicalise(raw), Err(PathError::IllegalByte), "{raw}");
        }
        for raw in ["/%", "/%1", "/%zz", "/a%2"] {
            assert_eq!(canonicalise(raw), Err(PathError::BrokenEncoding), "{raw}");
        }
        for raw in ["", "*", "admin", "h:443"] {
            assert_eq!(canonicalise(raw), Err(PathError::NotAbsolute), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn canonicalising_twice_changes_nothing(raw in "/[a-z/.%0-9A-F]{0,40}") {
            if let Ok(once) = canonicalise(&raw) {
                let twice = canonicalise(&once).map(Cow::into_owned);
                prop_assert_eq!(twice, Ok(once.clone().into_owned()));
                let segments: Vec<&str> = once[1..].split('/').collect();
                let (last, inner) = segments.split_last().expect("a split has a first part");
                prop_assert!(inner.iter().all(|segment| !matches!(*segment, "" | "." | "..")));
                prop_assert!(!matches!(*last, "." | ".."));
            }
        }
    }
}
