//! What a browser asks before a page of another site may send a request (the Fetch standard, "CORS-preflight fetch").
//!
//! The answer depends on what the request by definition says of itself: Origin, and the method and fields that are to
//! come. It carries no token and reaches no backend; what it tells is in the policy, and nobody's secret.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Answer, Findings, Guard, Verdict};
use crate::config::Cors;
use crate::problem::Problem;
use crate::request::RequestView;
use crate::routes::Matched;

/// Answers preflights for routes with `cors`.
#[derive(Debug)]
pub struct Preflight;

impl Guard for Preflight {
    fn name(&self) -> &'static str {
        "preflight"
    }

    /// Looks at the routes that the announced request would meet. Without `cors` there the request is an OPTIONS like any
    /// other: it goes on to the token.
    fn check(&self, request: &RequestView<'_>, matched: &Matched<'_>, _: &mut Findings) -> Verdict {
        let Some(asked) = Asked::of(request) else { return Verdict::Skipped };
        let actual = matched.with_method(&asked.method, request.path);
        let Some(cors) = actual.and_then(|actual| actual.cors()) else { return Verdict::Skipped };
        match asked.refusal(cors) {
            Some(detail) => {
                let problem = Problem::new("cross-origin-refused", StatusCode::FORBIDDEN, detail);
                Verdict::refuse_with(self.name(), problem, vec![vary()])
            }
            None => Verdict::Answer(Box::new(Answer {
                guard: self.name(),
                status: StatusCode::NO_CONTENT,
                headers: asked.answer(cors),
            })),
        }
    }

    fn looks_at(&self, request: &RequestView<'_>, matched: &Matched<'_>) -> String {
        let Some(asked) = Asked::of(request) else { return "no preflight".to_owned() };
        let actual = matched.with_method(&asked.method, request.path);
        match actual.and_then(|actual| actual.cors()) {
            None => format!("no `cors` for {} along the path", asked.method),
            Some(cors) => {
                let origin = String::from_utf8_lossy(asked.origin.as_bytes());
                format!("{origin} wants {}; {}", asked.method, cors)
            }
        }
    }
}

/// What a preflight announces.
struct Asked<'a> {
    origin: &'a HeaderValue,
    method: Method,
    /// Names of fields, in one list; `None`: unreadable.
    fields: Option<Vec<HeaderName>>,
}

impl<'a> Asked<'a> {
    fn of(request: &RequestView<'a>) -> Option<Self> {
        let method = request.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let origin = crate::request::only(request.headers, &header::ORIGIN)?;
        if request.method != Method::OPTIONS {
            return None;
        }
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        Some(Self { origin, method, fields: fields(request.headers) })
    }

    /// Why the request may not come; `None` when it may.
    fn refusal(&self, cors: &Cors) -> Option<&'static str> {
        let is_known = self.origin.to_str().is_ok_and(|origin| cors.has_origin(origin));
        let fields = self.fields.as_ref();
        if !is_known {
            Some("Pages of this origin may not ask here.")
        } else if !cors.methods.contains(&self.method) {
            Some("Pages of other sites may not ask with this method.")
        } else if !fields.is_some_and(|fields| fields.iter().all(|field| cors.headers.contains(field))) {
            Some("Pages of other sites may not send these fields.")
        } else {
            None
        }
    }

    fn answer(&self, cors: &Cors) -> Vec<(HeaderName, HeaderValue)> {
        let origin = match cors.origins {
            Some(_) => self.origin.clone(),
            None => HeaderValue::from_static("*"),
        };
        let list = |items: &[String]| HeaderValue::from_str(&items.join(", ")).expect("names and commas");
        let methods: Vec<_> = cors.methods.iter().map(ToString::to_string).collect();
        let headers: Vec<_> = cors.headers.iter().map(ToString::to_string).collect();
        let mut fields = vec![
            vary(),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (header::ACCESS_CONTROL_ALLOW_METHODS, list(&methods)),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs())),
        ];
        if !headers.is_empty() {
            fields.push((header::ACCESS_CONTROL_ALLOW_HEADERS, list(&headers)));
        }
        if cors.credentials {
            fields.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        fields
    }
}

fn fields(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let lists = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let mut names = Vec::new();
    for list in lists {
        let items = list.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty());
        for name in items {
            names.push(name.parse().ok()?);
        }
    }
    Some(names)
}

fn vary() -> (HeaderName, HeaderValue) {
    let value = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    (header::VARY, HeaderValue::from_static(value))
}
