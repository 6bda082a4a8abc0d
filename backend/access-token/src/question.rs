//! What a gateway asks that verifies no tokens itself (nginx, by `auth_request`): whether a request may pass, as a route
//! asks for it. The answer is the one that the edge would give.

use std::sync::Arc;

use crate::bearer::visible;
use crate::{Bearer, Claims, Denial, Role, TokenError};

/// What a route asks of a request.
///
/// As text, a query: `mode=required|optional`, `admit=ROLE` for each role that may pass, `CLAIM=VALUE` for each value that
/// a claim may have, `websocket=1` with `origin=ORIGIN` for each further site, `in_url=1` where the URL holds a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    is_required: bool,
    roles: Vec<Role>,
    claims: Vec<(String, Vec<String>)>,
    is_websocket: bool,
    origins: Vec<String>,
    is_in_url: bool,
}

/// What of a request the answer depends on: the values of its fields, each as often as it came.
#[derive(Clone, Debug, Default)]
pub struct Credentials<'a> {
    /// `Authorization`
    pub authorization: Vec<&'a [u8]>,
    /// `Origin`
    pub origin: Vec<&'a [u8]>,
    /// `Host`
    pub host: &'a [u8],
}

impl Question {
    /// Reads a question; `None` where it isn't one: then nobody may pass.
    pub fn parse(text: &str) -> Option<Self> {
        let mut question = Self::default();
        let mut has_mode = false;
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=')?;
            let value = decoded(value)?;
            match (key, value.as_str()) {
                ("mode", "required" | "optional") if !has_mode => {
                    has_mode = true;
                    question.is_required = value == "required";
                }
                ("admit", role) => question.roles.push(role.parse().ok()?),
                ("iss" | "aud" | "sub" | "sid" | "role" | "jti", _) => question.add_claim(key, value),
                ("websocket", "1") => question.is_websocket = true,
                ("origin", _) => question.origins.push(value),
                ("in_url", "1") => question.is_in_url = true,
                _ => return None,
            }
        }
        has_mode.then_some(question)
    }

    fn add_claim(&mut self, name: &str, value: String) {
        match self.claims.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.claims.push((name.to_owned(), vec![value])),
        }
    }

    /// Whether the request may pass; `verify` is asked about its token.
    pub fn answer(
        &self,
        credentials: &Credentials<'_>,
        verify: impl FnOnce(&str) -> Result<Arc<Claims>, TokenError>,
    ) -> Result<(), Denial> {
        let bearer = Bearer::of(credentials.authorization.iter().copied());
        if self.is_websocket {
            self.check_origin(credentials, bearer)?;
        }
        if self.is_in_url {
            return Err(Denial::IN_URL);
        }
        let token = match bearer {
            Bearer::Absent if !self.is_required => return Ok(()),
            Bearer::Absent | Bearer::OtherScheme => return Err(Denial::MISSING),
            Bearer::Repeated => return Err(Denial::REPEATED),
            Bearer::Malformed => return Err(Denial::UNREADABLE),
            Bearer::Token(token) => token,
        };
        match verify(token) {
            Ok(claims) if self.admits(&claims) => Ok(()),
            Ok(_) => Err(Denial::WRONG_ROLE),
            Err(error) => Err(Denial::from(&error)),
        }
    }

    /// Pages of this site and the named ones may open a WebSocket; who says no origin is no browser, and needs a token.
    fn check_origin(&self, credentials: &Credentials<'_>, bearer: Bearer<'_>) -> Result<(), Denial> {
        let origin = match credentials.origin.as_slice() {
            [] if bearer == Bearer::Absent => return Err(Denial::MISSING),
            [] => return Ok(()),
            [origin] => visible(origin),
            _ => None,
        };
        let host = visible(credentials.host).unwrap_or_default();
        let is_known = origin.is_some_and(|origin| {
            is_own_origin(origin, host) || self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
        });
        if is_known { Ok(()) } else { Err(Denial::FOREIGN_ORIGIN) }
    }

    fn admits(&self, claims: &Claims) -> bool {
        let holds = |(name, values): &(String, Vec<String>)| {
            let value = match name.as_str() {
                "iss" => claims.iss.as_str(),
                "aud" => claims.aud.as_str(),
                "sub" => claims.sub.as_str(),
                "sid" => claims.sid.as_str(),
                "role" => claims.role.as_str(),
                _ => claims.jti.as_str(),
            };
            values.iter().any(|accepted| accepted == value)
        };
        (self.roles.is_empty() || self.roles.contains(&claims.role)) && self.claims.iter().all(holds)
    }
}

/// Whether an origin (RFC 6454) is that of the pages at this authority, over HTTPS.
pub fn is_own_origin(origin: &str, authority: &str) -> bool {
    let strip = |authority: &str| authority.strip_suffix(":443").unwrap_or(authority).to_ascii_lowercase();
    origin
        .get(..8)
        .filter(|scheme| scheme.eq_ignore_ascii_case("https://"))
        .is_some_and(|scheme| strip(&origin[scheme.len()..]) == strip(authority))
}

/// A value of a query: each `%` begins two hex digits (RFC 3986, section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(sub: &str, role: Role) -> Arc<Claims> {
        let text = |text: &str| text.to_owned();
        Arc::new(Claims {
            iss: text("daemun"),
            aud: text("daemun"),
            sub: text(sub),
            sid: text("s"),
            role,
            iat: 0,
            exp: 900,
            nbf: None,
            jti: text("t"),
        })
    }

    fn ask(question: &str, authorization: &[&str], origin: &[&str]) -> Result<(), &'static str> {
        let bytes =
            |values: &[&str]| values.iter().map(|value| value.to_string().into_bytes()).collect::<Vec<_>>();
        let (authorization, origin) = (bytes(authorization), bytes(origin));
        let credentials = Credentials {
            authorization: authorization.iter().map(Vec::as_slice).collect(),
            origin: origin.iter().map(Vec::as_slice).collect(),
            host: b"localhost:8443",
        };
        let verify = |token: &str| match token {
            "user" => Ok(claims("u", Role::User)),
            "admin" => Ok(claims("a&b", Role::Admin)),
            "revoked" => Err(TokenError::Revoked),
            _ => Err(TokenError::Malformed),
        };
        let question = Question::parse(question).expect("a question");
        question.answer(&credentials, verify).map_err(|denial| denial.problem)
    }

    #[test]
    fn a_token_is_asked_for_as_the_route_does() {
        assert_eq!(ask("mode=required", &["Bearer user"], &[]), Ok(()));
        assert_eq!(ask("mode=required", &[], &[]), Err("token-missing"));
        assert_eq!(ask("mode=required", &["Basic x"], &[]), Err("token-missing"));
        assert_eq!(ask("mode=required", &["Bearer revoked"], &[]), Err("invalid-token"));
        assert_eq!(ask("mode=required", &["Bearer user", "Bearer user"], &[]), Err("bad-request"));
        assert_eq!(ask("mode=required&in_url=1", &["Bearer user"], &[]), Err("bad-request"));
        assert_eq!(ask("mode=optional", &[], &[]), Ok(()));
        assert_eq!(ask("mode=optional", &["Bearer x"], &[]), Err("invalid-token"));
        assert_eq!(ask("mode=optional", &["Basic x"], &[]), Err("token-missing"));
    }

    #[test]
    fn roles_and_claims_must_all_hold() {
        assert_eq!(ask("mode=required&admit=admin", &["Bearer user"], &[]), Err("forbidden"));
        assert_eq!(ask("mode=required&admit=vendor&admit=admin", &["Bearer admin"], &[]), Ok(()));
        assert_eq!(ask("mode=required&sub=x&sub=a%26b", &["Bearer admin"], &[]), Ok(()));
        assert_eq!(ask("mode=required&admit=admin&sub=x", &["Bearer admin"], &[]), Err("forbidden"));
    }

    #[test]
    fn a_websocket_is_opened_by_known_pages_or_with_a_token() {
        let question = "mode=optional&websocket=1&origin=https%3A%2F%2Fshop.example";
        assert_eq!(ask(question, &[], &["https://LOCALHOST:8443"]), Ok(()));
        assert_eq!(ask(question, &[], &["https://shop.example"]), Ok(()));
        assert_eq!(ask(question, &["Bearer user"], &[]), Ok(()));
        assert_eq!(ask(question, &[], &[]), Err("token-missing"));
        for foreign in [&["null"][..], &[""], &["https://localhost"], &["https://shop.example"; 2]] {
            assert_eq!(ask(question, &["Bearer user"], foreign), Err("foreign-origin"), "{foreign:?}");
        }
    }

    #[test]
    fn what_is_no_question_lets_nobody_pass() {
        for text in [
            "",
            "mode",
            "mode=none",
            "admit=admin",
            "mode=required&admit=root",
            "mode=required&x=1",
            "mode=required&sub=%4",
            "mode=required&mode=optional",
        ] {
            assert_eq!(Question::parse(text), None, "{text}");
        }
    }
}
