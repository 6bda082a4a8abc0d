//! Answers what never became a request: a problem, written by hand, after which the connection ends.

use std::net::IpAddr;

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::head::Flaw;
use super::stream::ClientStream;
use crate::problem::{self, Problem};

/// Why a connection ends before its next request.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The header has no meaning, or two.
    Flaw(Flaw),
    /// It took too long.
    TooSlow,
    /// There is no room for it.
    Full,
}

impl Refusal {
    fn guard(&self) -> &'static str {
        match self {
            Self::Flaw(_) => "framing",
            Self::TooSlow => "header-timeout",
            Self::Full => "capacity",
        }
    }

    fn problem(&self) -> Problem {
        match self {
            // RFC 9110, section 15.5.9
            Self::TooSlow => {
                let detail = "The request's header took too long to come.";
                Problem::new("header-timeout", StatusCode::REQUEST_TIMEOUT, detail)
            }
            Self::Full => Problem::unavailable(),
            Self::Flaw(flaw) => of_flaw(*flaw),
        }
    }
}

fn of_flaw(flaw: Flaw) -> Problem {
    let (name, status) = match flaw {
        Flaw::TooLarge => ("header-too-large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Flaw::TargetTooLong => ("target-too-long", StatusCode::URI_TOO_LONG),
        Flaw::Connect => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED),
        Flaw::Version => ("version-not-supported", StatusCode::HTTP_VERSION_NOT_SUPPORTED),
        Flaw::Expectation => ("expectation-failed", StatusCode::EXPECTATION_FAILED),
        _ => ("bad-request", StatusCode::BAD_REQUEST),
    };
    Problem::new(name, status, flaw.to_string())
}

/// Tells the client, notes it, and ends the connection.
pub(super) async fn refuse(stream: &mut ClientStream, client: IpAddr, refusal: &Refusal) {
    let (guard, problem) = (refusal.guard(), refusal.problem());
    let request_id = Uuid::now_v7().to_string();
    metrics::counter!("edge_refusals_total", "guard" => guard).increment(1);
    let status = problem.status.as_u16();
    tracing::info!(target: "access", request_id, %client, status, refused_by = guard, problem = problem.name);
    let body = problem.body(&request_id);
    let answer = format!(
        "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\ncache-control: no-store\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n{body}",
        problem.status,
        problem::CONTENT_TYPE,
        body.len(),
    );
    // Whoever sends such a header may well be gone.
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.flush().await.is_ok() {
        stream.close().await;
    }
}
