//! Where a redirect leads. The destination is the policy's; of the request only a path below it and a query come along.

use http::HeaderValue;

use crate::config::{Redirect, Route};

/// The `Location` of a request for this canonical path and query; `None` where it makes no field (then the query has a
/// byte that none may have).
pub fn location(route: &Route, redirect: &Redirect, path: &str, query: Option<&str>) -> Option<HeaderValue> {
    if !redirect.keep_path {
        return HeaderValue::from_str(&redirect.to).ok();
    }
    // Nothing, or a text that starts with one slash: the path is canonical. So neither can it lengthen the
    // destination's host, nor begin a `//host` of its own.
    let rest = route.pattern.rest_of(path);
    let path = if redirect.to.is_empty() && rest.is_empty() { "/" } else { rest };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    HeaderValue::from_str(&format!("{}{path}{query}", redirect.to)).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{self, Target};
    use crate::path::canonicalise;

    fn route(path: &str, redirect: &str) -> Route {
        let text = include_str!("../../config/edge.toml");
        let text = config_text::expand(text, |_| None).expect("defaults");
        let text = format!("{text}\n[[routes]]\n{path}\nredirect = {redirect}\n");
        let policy = config::parse(&text, Path::new("/")).expect("a valid policy");
        policy.routes.last().expect("a route").clone()
    }

    fn leads(path: &str, redirect: &str, asked: &str, query: Option<&str>) -> String {
        let route = route(path, redirect);
        let Target::Redirect(redirect) = &route.target else { panic!("a redirect") };
        let path = canonicalise(asked).expect("a path");
        let location = location(&route, redirect, &path, query).expect("a location");
        location.to_str().expect("text").to_owned()
    }

    #[test]
    fn what_lies_below_comes_along_where_it_is_asked_for() {
        let below = r#"below = "/old""#;
        assert_eq!(leads(below, r#"{ to = "/new" }"#, "/old/x", Some("q")), "/new");
        let keep = r#"{ to = "/new", keep_path = true }"#;
        assert_eq!(leads(below, keep, "/old/x/y", Some("q=1")), "/new/x/y?q=1");
        assert_eq!(leads(below, keep, "/old", None), "/new");
        let site = r#"{ to = "https://new.example/", keep_path = true }"#;
        assert_eq!(leads(below, site, "/old/x", None), "https://new.example/x");
        assert_eq!(leads(below, r#"{ to = "/", keep_path = true }"#, "/old", None), "/");
    }

    proptest! {
        #[test]
        fn no_request_chooses_the_host_or_adds_a_field(
            path in "/old[a-z/.%0-9@:\\\\]{0,30}",
            query in proptest::option::of("[ -~\r\n]{0,20}"),
        ) {
            let Ok(path) = canonicalise(&path) else { return Ok(()) };
            for (to, prefix) in [("", "/"), ("https://new.example", "https://new.example")] {
                let redirect = Redirect { to: to.into(), status: http::StatusCode::FOUND, keep_path: true };
                let mut route = ROUTE.clone();
                route.target = Target::Redirect(redirect.clone());
                if !route.pattern.matches(&path) {
                    continue;
                }
                let Some(location) = location(&route, &redirect, &path, query.as_deref()) else { continue };
                let text = location.to_str().expect("visible");
                let rest = text.strip_prefix(prefix).expect("the policy's own destination");
                prop_assert!(!text.starts_with("//") && !text.contains(['\r', '\n']), "{}", text);
                prop_assert!(prefix == "/" || rest.is_empty() || rest.starts_with(['/', '?']), "{}", text);
            }
        }
    }

    static ROUTE: std::sync::LazyLock<Route> =
        std::sync::LazyLock::new(|| route(r#"below = "/old""#, r#"{ to = "/new" }"#));
}
