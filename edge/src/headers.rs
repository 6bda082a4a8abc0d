//! Which of a client's fields never reach a backend.

use http::{HeaderMap, HeaderName};

/// Fields that say who somebody is, where a request came from, or what it is really about: only a gateway may.
const STRIPPED: [&str; 9] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-request-id",
    "proxy",
];
const STRIPPED_PREFIXES: [&str; 4] = ["x-forwarded-", "x-user-", "x-auth-", "x-original-"];

/// The fields of a request that must be taken out before it is forwarded. Names with an underscore go too: some
/// servers read `X_User_Id` as `X-User-Id`.
pub fn untrusted(headers: &HeaderMap) -> Vec<HeaderName> {
    headers.keys().filter(|name| is_untrusted(name.as_str())).cloned().collect()
}

fn is_untrusted(name: &str) -> bool {
    name.contains('_')
        || STRIPPED.contains(&name)
        || STRIPPED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_forwarding_fields_are_taken_out() {
        let mut headers = HeaderMap::new();
        for name in ["X-User-Id", "x_user_id", "X-Forwarded-For", "Forwarded", "X-Original-URL", "accept"] {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                "x".parse().expect("a value"),
            );
        }
        assert_eq!(untrusted(&headers).len(), 5);
    }
}
