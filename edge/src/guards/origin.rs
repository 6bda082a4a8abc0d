//! Which pages may open a WebSocket: a browser lets any page try, and sends cookies and addresses along.

use access_token::{Denial, is_own_origin};

use super::{Findings, Guard, Verdict};
use crate::request::{Bearer, RequestView};
use crate::routes::Matched;

/// Checks the Origin of WebSocket routes (RFC 6455, section 10.2).
#[derive(Debug)]
pub struct OriginGuard;

impl Guard for OriginGuard {
    fn name(&self) -> &'static str {
        "origin"
    }

    /// Lets this site's own pages and the route's named origins pass; another or `null`: 403. A client without an
    /// Origin is no browser: it comes with a token (checked by the next guard) or gets 401. The verdict is the same
    /// whether or not the request asks for an upgrade.
    fn check(&self, request: &RequestView<'_>, matched: &Matched<'_>, _: &mut Findings) -> Verdict {
        let route = matched.route();
        if !route.websocket {
            return Verdict::Skipped;
        }
        match request.origin() {
            None if request.bearer() == Bearer::Absent => super::token::deny(self.name(), Denial::MISSING),
            None => Verdict::Continue,
            Some(Ok(origin)) if is_own_origin(origin, request.authority) => Verdict::Continue,
            Some(Ok(origin)) if route.origins.iter().any(|o| o.eq_ignore_ascii_case(origin)) => {
                Verdict::Continue
            }
            Some(_) => super::token::deny(self.name(), Denial::FOREIGN_ORIGIN),
        }
    }

    fn looks_at(&self, request: &RequestView<'_>, matched: &Matched<'_>) -> String {
        match request.origin() {
            _ if !matched.route().websocket => "not a WebSocket route".to_owned(),
            Some(Ok(origin)) => format!("Origin {origin}; own: https://{}", request.authority),
            Some(Err(())) => "the Origin can't be read".to_owned(),
            None => "no Origin: let in by a token only".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_own_origin;

    #[test]
    fn an_origin_is_own_when_scheme_host_and_port_agree() {
        assert!(is_own_origin("https://localhost:8443", "localhost:8443"));
        assert!(is_own_origin("https://Example.com", "example.com:443"));
        for origin in
            ["http://localhost:8443", "https://localhost", "null", "", "https://localhost:8443.evil.example"]
        {
            assert!(!is_own_origin(origin, "localhost:8443"), "{origin}");
        }
    }
}
