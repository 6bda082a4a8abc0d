//! What the policy sets on each answer, whoever gives it: the fields of `[headers]` and of the routes along the path, HSTS,
//! and what a page of another site must see.

use http::{HeaderName, HeaderValue, header};

use crate::config::{Cors, Fields, Policy};
use crate::routes::Matched;

/// A change to an answer's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The field has this value and no other.
    Set(HeaderName, HeaderValue),
    /// The value is added to what is there.
    Add(HeaderName, HeaderValue),
    /// The field is taken out.
    Remove(HeaderName),
}

/// What is known of a request when it is answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Its host (index into the policy's), if it is one of ours.
    pub host: Option<usize>,
    /// Its routes, if it came so far.
    pub matched: Option<Matched<'a>>,
    /// Its `Origin`, if it is to be answered as CORS says.
    pub origin: Option<&'a HeaderValue>,
    /// Whether a guard has answered it as a preflight.
    pub is_preflight: bool,
}

/// Gives every change for an answer to `apply`. Of a field that several name the most specific route's holds.
pub fn changes<E>(
    policy: &Policy,
    asked: &Asked<'_>,
    mut apply: impl FnMut(Change) -> Result<(), E>,
) -> Result<(), E> {
    let lists = || {
        let along = asked.matched.iter().flat_map(Matched::along_the_path).map(|route| &route.headers);
        along.chain([&policy.headers])
    };
    for (depth, list) in lists().enumerate() {
        for (name, value) in list {
            let is_named_further_down = lists().take(depth).any(|narrower| names(narrower, name));
            if let (false, Some(value)) = (is_named_further_down, value) {
                apply(Change::Set(name.clone(), value.clone()))?;
            }
        }
    }
    if let (Some(hsts), Some(host)) = (&policy.hsts, asked.host)
        && hsts.hosts.contains(&host)
    {
        apply(Change::Set(header::STRICT_TRANSPORT_SECURITY, hsts.value.clone()))?;
    }
    let cors = asked.matched.and_then(|matched| matched.cors()).filter(|_| !asked.is_preflight);
    cors.map_or(Ok(()), |cors| for_other_sites(cors, asked.origin, &mut apply))
}

fn names(fields: &Fields, name: &HeaderName) -> bool {
    fields.iter().any(|(known, _)| known == name)
}

/// The policy alone says who may read an answer; what the service says of it is taken out.
fn for_other_sites<E>(
    cors: &Cors,
    origin: Option<&HeaderValue>,
    apply: &mut impl FnMut(Change) -> Result<(), E>,
) -> Result<(), E> {
    let allowed = allowed_origin(cors, origin);
    if cors.origins.is_some() {
        // Caches must not give one site's answer to another.
        apply(Change::Add(header::VARY, HeaderValue::from_static("Origin")))?;
    }
    let credentials = (cors.credentials && allowed.is_some()).then(|| HeaderValue::from_static("true"));
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed),
        (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials),
    ] {
        apply(value.map_or(Change::Remove(name.clone()), |value| Change::Set(name, value)))?;
    }
    Ok(())
}

/// What `Access-Control-Allow-Origin` is to say to this origin; `None` where its pages may not read the answer.
fn allowed_origin(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    let origin = origin?;
    match &cors.origins {
        None => Some(HeaderValue::from_static("*")),
        Some(_) => cors.has_origin(origin.to_str().ok()?).then(|| origin.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::path::Path;

    use http::Method;

    use super::*;
    use crate::config;
    use crate::routes::RouteTable;

    const ROUTES: &str = r#"
[[routes]]
below = "/h"
headers = { x-frame-options = "", x-own = "1" }
upstream = "backend"
cors = { origins = ["https://shop.example"], methods = ["PUT"], credentials = true, max_age_seconds = 60 }
[[routes]]
below = "/h/i"
headers = { X-Own = "2" }
upstream = "backend"
"#;

    fn set(host: Option<usize>, path: &str, origin: Option<&'static str>) -> Vec<(String, String)> {
        let text = config_text::expand(include_str!("../../config/edge.toml"), |_| None).expect("defaults");
        let text = text.replacen("hosts = [\"localhost\"", "hosts = [\"localhost\", \"gate.example\"", 1);
        let text = text
            .replace("[hsts]\nhosts = [\"localhost\"", "[hsts]\nhosts = [\"localhost\", \"gate.example\"");
        let policy = config::parse(&format!("{text}{ROUTES}"), Path::new("/")).expect("a valid policy");
        let table = RouteTable::new(policy.routes.clone());
        let matched = host.and_then(|host| table.find(&Method::GET, host, path));
        let origin = origin.map(HeaderValue::from_static);
        let asked = Asked { host, matched, origin: origin.as_ref(), is_preflight: false };
        let mut fields = Vec::new();
        let apply = |change| {
            if let Change::Set(name, value) | Change::Add(name, value) = change {
                fields.push((name.to_string(), value.to_str().expect("text").to_owned()));
            }
            Ok::<_, Infallible>(())
        };
        changes(&policy, &asked, apply).expect("nothing fails");
        fields
    }

    fn value(fields: &[(String, String)], name: &str) -> Vec<String> {
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    #[test]
    fn the_most_specific_route_that_names_a_field_decides_it() {
        let (wide, narrow) = (set(Some(0), "/h", None), set(Some(0), "/h/i", None));
        assert_eq!(value(&wide, "x-own"), ["1"]);
        assert_eq!(value(&narrow, "x-own"), ["2"]);
        for fields in [&wide, &narrow] {
            assert_eq!(value(fields, "x-frame-options"), [""; 0]);
            assert_eq!(value(fields, "x-content-type-options"), ["nosniff"]);
        }
        assert_eq!(value(&set(None, "/", None), "x-content-type-options"), ["nosniff"]);
    }

    #[test]
    fn hsts_is_for_named_hosts_and_never_for_this_machine() {
        let of = |host| value(&set(host, "/", None), "strict-transport-security");
        assert_eq!(of(Some(1)), ["max-age=31536000"]);
        assert_eq!(of(Some(0)), [""; 0]);
        assert_eq!(of(None), [""; 0]);
    }

    #[test]
    fn another_site_sees_what_its_route_says() {
        let of = |path: &str, origin| {
            let fields = set(Some(0), path, origin);
            let get = |name: &str| value(&fields, name).join(" | ");
            (get("access-control-allow-origin"), get("access-control-allow-credentials"), get("vary"))
        };
        let all =
            |origin: &str, credentials: &str, vary: &str| (origin.into(), credentials.into(), vary.into());
        assert_eq!(of("/h/i", Some("https://shop.example")), all("https://shop.example", "true", "Origin"));
        assert_eq!(of("/h", Some("https://evil.example")), all("", "", "Origin"));
        assert_eq!(of("/h", None), all("", "", "Origin"));
        assert_eq!(of("/api/vendors", Some("https://shop.example")), all("", "", ""));
    }
}
