//! What nginx answers when it refuses or fails itself: the edge's problem documents, each in a location of its name.

use http::StatusCode;

use super::answers::has_cors;
use super::cases::Case;
use super::servers::has_tokens;
use super::writer::Writer;
use crate::config::Policy;
use crate::problem::Problem;

/// Statuses that nginx refuses with before it knows the request; they are answered by an internal address, since there is
/// no location yet. No client can ask for it: its path has a backslash.
const EARLY: [(u16, &str); 6] = [
    (400, "bad-request"),
    (405, "method-not-allowed"),
    (408, "header-timeout"),
    (414, "target-too-long"),
    (431, "header-too-large"),
    (505, "version-not-supported"),
];

fn problem(name: &'static str, status: u16, detail: &str) -> Problem {
    Problem::new(name, StatusCode::from_u16(status).expect("a status"), detail)
}

fn all(policy: &Policy, cases: &[Case<'_>]) -> Vec<Problem> {
    let target = format!("A path with its query has {} bytes at most.", policy.connections.max_target_bytes);
    let mut all = vec![
        problem("bad-request", 400, "$bad_request_detail"),
        crate::guards::address_not_allowed(),
        Problem::not_found(),
        Problem::method_not_allowed(),
        problem("precondition-failed", 412, "What is here is not what the request is conditional on."),
        problem("body-too-large", 413, "A request's body has $most_body_bytes bytes at most."),
        problem("target-too-long", 414, &target),
        problem("range-not-satisfiable", 416, "There are none here of the bytes that were asked for."),
        Problem::misdirected(),
        problem("rate-limited", 429, "More requests than are let through; try again in $limit_wait s."),
        Problem::internal(),
        Problem::bad_gateway(),
        Problem::unavailable(),
    ];
    if has_tokens(cases) {
        let told = |name, status| problem(name, status, "$token_detail");
        all.extend([told("token-missing", 401), told("invalid-token", 401)]);
        all.extend([told("forbidden", 403), told("foreign-origin", 403)]);
    }
    if has_cors(cases) {
        all.push(problem("cross-origin-refused", 403, "$cross_origin_detail"));
    }
    all
}

/// The document as a string of nginx's. What stands for a variable in it stays one.
fn document(problem: &Problem) -> String {
    let body = problem.body("$gateway_request_id");
    format!("'{}'", body.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// `$bad_request_detail`: the path's, the client's, or what is said of the token.
pub(super) fn details(w: &mut Writer, cases: &[Case<'_>]) {
    let token_detail = if has_tokens(cases) { "$token_detail" } else { "" };
    w.map(
        &format!("\"$refused_as|{token_detail}\""),
        "$bad_request_detail",
        "\"The request can't be answered as it is.\"",
        [
            ("~^bad-client", "\"X-Forwarded-For has an entry that is no address.\""),
            ("~^bad-path", "\"The path has no one meaning.\""),
            ("~^\\|(?<told_of_token>.+)$", "$told_of_token"),
        ],
    );
}

/// What holds in every place where no other address of errors is named.
pub(super) fn early_lines(w: &mut Writer) {
    for (status, name) in EARLY {
        // nginx's own number for a header that is too large.
        let from = if status == 431 { "494 =431".to_owned() } else { status.to_string() };
        w.line(format!("error_page {from} \"/\\\\problem/{name}\";"));
    }
}

/// The locations behind [`early_lines`].
pub(super) fn early_locations(w: &mut Writer) {
    for (status, name) in EARLY {
        let detail = match name {
            "method-not-allowed" => Problem::method_not_allowed().detail,
            "header-timeout" => "The request's header took too long to come.".to_owned(),
            "header-too-large" => "The request's header is too large.".to_owned(),
            "target-too-long" => "The request's target is too long.".to_owned(),
            "version-not-supported" => "Only HTTP/1.1 and HTTP/2 are spoken here.".to_owned(),
            _ => "The header is not well-formed.".to_owned(),
        };
        let problem = problem(name, status, &detail);
        w.block(&format!("location = \"/\\\\problem/{name}\""), |w| {
            w.line("internal;");
            body(w, &problem);
        });
    }
}

/// A location for each problem.
pub(super) fn locations(w: &mut Writer, policy: &Policy, cases: &[Case<'_>]) {
    for problem in all(policy, cases) {
        w.block(&format!("location @problem-{}", problem.name), |w| body(w, &problem));
    }
}

fn body(w: &mut Writer, problem: &Problem) {
    w.line(format!("set $problem {};", problem.name));
    w.line("types { }");
    w.line("default_type application/problem+json;");
    w.line(format!("return {} {};", problem.status.as_u16(), document(problem)));
}
