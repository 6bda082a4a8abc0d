//! What a gateway asks that verifies no tokens itself: `GET /gateway/token`, at the management address, which is never
//! published. nginx asks it for each request that needs a token (`auth_request`), with the request's fields and, in
//! `X-Gateway-Question`, what its route wants ([`Question`]).
//!
//! 204 lets the request pass. 403 refuses it; what is to be said stands in `X-Gateway-Problem`, `X-Gateway-Detail` and
//! `X-Gateway-Challenge`. A question that can't be read is our own fault, 500: nobody passes.

use access_token::{Credentials, Denial, Question};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::auth::tokens::AccessTokens;
use crate::problem::Problem;

const QUESTION: &str = "x-gateway-question";

/// The management routes of this room.
pub fn router(tokens: AccessTokens) -> Router {
    Router::new().route("/gateway/token", get(answer)).with_state(tokens)
}

async fn answer(State(tokens): State<AccessTokens>, headers: HeaderMap) -> Response {
    let question = headers.get(QUESTION).and_then(|value| value.to_str().ok()).and_then(Question::parse);
    let Some(question) = question else {
        return Problem::internal(&"a gateway asks what can't be read").into_response();
    };
    let all = |name: HeaderName| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let credentials = Credentials {
        authorization: all(header::AUTHORIZATION),
        origin: all(header::ORIGIN),
        host: headers.get(header::HOST).map_or(&[], HeaderValue::as_bytes),
    };
    match question.answer(&credentials, |token| tokens.verify(token)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(denial) => refusal(denial),
    }
}

fn refusal(denial: Denial) -> Response {
    let mut response = StatusCode::FORBIDDEN.into_response();
    let told = [
        ("x-gateway-problem", Some(denial.problem)),
        ("x-gateway-detail", Some(denial.detail)),
        ("x-gateway-challenge", denial.challenge),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    response
}
