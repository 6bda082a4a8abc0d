//! The id under which one request is known in logs, in problems and to the client.

use axum::http::HeaderMap;
use axum::http::HeaderName;
use uuid::Uuid;

/// The header that the gateway sets on requests and every response carries.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MAX_BYTES: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id that the gateway gave, if it has the form of one; else a new UUIDv7.
pub fn of(headers: &HeaderMap) -> String {
    headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_acceptable(id))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// The id of the request that this task is answering; none outside of one.
pub fn current() -> Option<String> {
    CURRENT.try_with(String::clone).ok()
}

/// Runs `future` as the answer to the request `id`.
pub async fn scope<F: Future>(id: String, future: F) -> F::Output {
    CURRENT.scope(id, future).await
}

fn is_acceptable(id: &str) -> bool {
    (1..=MAX_BYTES).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_log_line_is_replaced() {
        for bad in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert!(!is_acceptable(bad), "{bad:?}");
        }
        assert!(is_acceptable("0190b6a0-1111-7000-8000-000000000000"));
    }
}
