//! What the edge itself answers when it refuses or fails: RFC 9457 problem details, named as the backends name theirs.

use http::StatusCode;

/// A refusal or failure, as a client is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The stable name; `type` is `/problems/NAME`, and the title says it in words.
    pub name: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// What happened this time. Never names a backend, a file or a version.
    pub detail: String,
}

/// The media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

impl Problem {
    /// A problem with its own words.
    pub fn new(name: &'static str, status: StatusCode, detail: impl Into<String>) -> Self {
        Self { name, status, detail: detail.into() }
    }

    /// The body, JSON text.
    pub fn body(&self, request_id: &str) -> String {
        serde_json::json!({
            "type": format!("/problems/{}", self.name),
            "title": title(self.name),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "request_id": request_id,
        })
        .to_string()
    }

    /// 400: the request can't be understood safely.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new("bad-request", StatusCode::BAD_REQUEST, detail)
    }

    /// 404: nothing is there.
    pub fn not_found() -> Self {
        Self::new("not-found", StatusCode::NOT_FOUND, "There is nothing at this path.")
    }

    /// 405: the address is right, the method isn't.
    pub fn method_not_allowed() -> Self {
        Self::new("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "This path doesn't take this method.")
    }

    /// 413: the body is longer than this gateway takes.
    pub fn body_too_large(most_bytes: u64) -> Self {
        let detail = format!("A request's body has {most_bytes} bytes at most.");
        Self::new("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 421: the request is for a name that this gateway doesn't answer for.
    pub fn misdirected() -> Self {
        let detail = "This gateway does not answer for the requested host.";
        Self::new("unknown-host", StatusCode::MISDIRECTED_REQUEST, detail)
    }

    /// 500: our own fault.
    pub fn internal() -> Self {
        Self::new("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side.")
    }

    /// 502: a server of ours answered badly or not in time.
    pub fn bad_gateway() -> Self {
        let detail = "The service broke off before it had answered; the request may have taken effect.";
        Self::new("bad-gateway", StatusCode::BAD_GATEWAY, detail)
    }

    /// 503: no server of ours can take the request now.
    pub fn unavailable() -> Self {
        Self::new("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Not possible right now; try again soon.")
    }

    /// The problem for a bare status, where the edge has nothing closer to say.
    pub fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Self::method_not_allowed(),
            StatusCode::BAD_GATEWAY => Self::bad_gateway(),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new("body-too-large", status, "The request's body is longer than this gateway takes.")
            }
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(),
            status if status.is_client_error() => {
                Self::new("bad-request", status, "The request can't be answered as it is.")
            }
            _ => Self::internal(),
        }
    }
}

/// `slot-taken` → `Slot taken`.
fn title(name: &str) -> String {
    let mut title = name.replace('-', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}
