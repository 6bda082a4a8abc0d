//! What a request's `Authorization` says, and how it is told that this is not enough.

/// What the `Authorization` fields of a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// There is none.
    Absent,
    /// There is more than one.
    Repeated,
    /// There is one of another scheme.
    OtherScheme,
    /// It is `Bearer` without a token, or with what can't be one.
    Malformed,
    /// A token, not verified.
    Token(&'a str),
}

impl<'a> Bearer<'a> {
    /// Reads the values of all `Authorization` fields (RFC 6750, section 2.1).
    pub fn of(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut values = values.into_iter();
        let Some(value) = values.next() else { return Self::Absent };
        if values.next().is_some() {
            return Self::Repeated;
        }
        let Some(text) = visible(value) else { return Self::Malformed };
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        match token {
            _ if !scheme.eq_ignore_ascii_case("bearer") => Self::OtherScheme,
            "" => Self::Malformed,
            token if token.contains(char::is_whitespace) => Self::Malformed,
            token => Self::Token(token),
        }
    }
}

/// A field's value of visible ASCII, spaces and tabs.
pub(crate) fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    std::str::from_utf8(value).ok().filter(|_| value.iter().all(is_visible))
}

/// Why a request is refused that brings no token, or none that will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The problem's stable name.
    pub problem: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for a person.
    pub detail: &'static str,
    /// The `WWW-Authenticate` that belongs to it (RFC 6750, section 3).
    pub challenge: Option<&'static str>,
}

impl Denial {
    /// 401 for a request without a token, or with credentials of another scheme: no `error` attribute.
    pub const MISSING: Self = Self {
        problem: "token-missing",
        status: 401,
        detail: "This takes an access token.",
        challenge: Some(r#"Bearer realm="daemun""#),
    };
    /// 403 for a token of another role, or whose claims are others.
    pub const WRONG_ROLE: Self = Self {
        problem: "forbidden",
        status: 403,
        detail: "This takes another role, or another token.",
        challenge: Some(r#"Bearer realm="daemun", error="insufficient_scope""#),
    };
    /// 403 for a page of another site.
    pub const FOREIGN_ORIGIN: Self = Self {
        problem: "foreign-origin",
        status: 403,
        detail: "A WebSocket may be opened by this site's own pages only.",
        challenge: None,
    };
    /// 400 for a token that came in the URL.
    pub const IN_URL: Self =
        Self::malformed("A token is taken from the `Authorization` field only, never from a URL.");
    /// 400 for several fields.
    pub const REPEATED: Self = Self::malformed("Expected one `Authorization` field.");
    /// 401 for a field that holds no token.
    pub const UNREADABLE: Self = Self::invalid("Expected `Authorization: Bearer` with one token.");

    /// A request that brings its token in a way that is not taken, or in several (section 3.1).
    const fn malformed(detail: &'static str) -> Self {
        let challenge = Some(r#"Bearer realm="daemun", error="invalid_request""#);
        Self { problem: "bad-request", status: 400, detail, challenge }
    }

    const fn invalid(detail: &'static str) -> Self {
        let challenge = Some(r#"Bearer realm="daemun", error="invalid_token""#);
        Self { problem: "invalid-token", status: 401, detail, challenge }
    }
}

impl From<&crate::TokenError> for Denial {
    fn from(error: &crate::TokenError) -> Self {
        Self::invalid(match error {
            crate::TokenError::Expired => "The token has expired.",
            crate::TokenError::Revoked => "The token has been revoked.",
            _ => "The token is not valid.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(values: &[&'a str]) -> Bearer<'a> {
        Bearer::of(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn one_field_with_one_token_is_read() {
        assert_eq!(read(&[]), Bearer::Absent);
        assert_eq!(read(&["bEARER abc"]), Bearer::Token("abc"));
        assert_eq!(read(&["Bearer a", "Bearer a"]), Bearer::Repeated);
        assert_eq!(read(&["Basic abc"]), Bearer::OtherScheme);
        assert_eq!(read(&[""]), Bearer::OtherScheme);
        for malformed in ["Bearer", "Bearer ", "Bearer a b", "Bearer  a", "Bearer \u{e9}"] {
            assert_eq!(read(&[malformed]), Bearer::Malformed, "{malformed}");
        }
    }
}
