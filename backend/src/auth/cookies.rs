//! The cookies of a browser: one on its way to a provider, one while it is signed in. Neither can be read by scripts, or set
//! by another host (the prefix `__Host-`, RFC 6265bis, section 4.1.3).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Names a sign-in on its way.
    SignIn,
    /// Holds the refresh token.
    Refresh,
}

impl Cookie {
    fn name(self) -> &'static str {
        match self {
            Self::SignIn => "__Host-sign-in",
            Self::Refresh => "__Host-refresh",
        }
    }

    /// Its value in a request; `None` as well where it is there twice.
    pub(super) fn find(self, headers: &HeaderMap) -> Option<&str> {
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == self.name()).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    /// Sets it for a while. `Lax`: it comes along when a person arrives from elsewhere by a link, and with no other request
    /// of another site.
    pub(super) fn set(self, value: &str, life: Duration) -> (HeaderName, HeaderValue) {
        let text = format!(
            "{}={value}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax",
            self.name(),
            life.as_secs()
        );
        (header::SET_COOKIE, HeaderValue::from_str(&text).expect("our own values are plain"))
    }

    /// Takes it away.
    pub(super) fn clear(self) -> (HeaderName, HeaderValue) {
        self.set("", Duration::ZERO)
    }
}

/// Whether a request that a cookie speaks for was made by a page of this site: the browser says so in one field at least, and
/// in no field otherwise.
pub(super) fn is_of_this_site(headers: &HeaderMap, public_url: &str) -> bool {
    let fetch_site = headers.get(FETCH_SITE);
    if fetch_site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => origin == public_url || is_own_host(origin, headers),
        None => fetch_site.is_some(),
    }
}

/// The gateway lets in requests for its own hosts only.
fn is_own_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let authority = origin.as_ref().filter(|uri| uri.scheme_str() == Some("https")).and_then(Uri::authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.zip(host).is_some_and(|(authority, host)| authority.as_str().eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_cookie_is_found_once_among_others() {
        let find = |value| Cookie::Refresh.find(&headers(&[("cookie", value)])).map(str::to_owned);
        assert_eq!(find("a=b; __Host-refresh=x.1.y;c=d"), Some("x.1.y".into()));
        assert_eq!(find("__Host-refreshed=x; refresh=y"), None);
        assert_eq!(find("__Host-refresh=x; __Host-refresh=y"), None, "one of them was slipped in");
    }

    #[test]
    fn a_request_of_another_site_is_told_by_what_its_browser_says() {
        let own = "https://gate.example";
        let ours = |fields: &[(&'static str, &'static str)]| is_of_this_site(&headers(fields), own);
        assert!(ours(&[("origin", own), ("sec-fetch-site", "same-origin")]));
        assert!(ours(&[("origin", own)]) && ours(&[("sec-fetch-site", "same-origin")]));
        assert!(ours(&[("origin", "https://other.example:8443"), ("host", "other.example:8443")]));
        for bad in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://evil.example"), ("host", "gate.example")],
            &[("origin", "http://gate.example"), ("host", "gate.example")],
            &[("origin", own), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!ours(bad), "{bad:?}");
        }
    }
}
