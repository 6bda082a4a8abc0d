//! From a file to an answer: conditions, then the part that is asked for; or a problem.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderValue, Method, StatusCode, header};

use super::conditions::{self, Met, Validators};
use super::disk::{Disk, Missing};
use super::range::{self, Part};
use super::{Asked, Body, Held, Refused, Served, Unheld, VARY, names};
use crate::problem::Problem;

pub(super) fn with_file(asked: &Asked<'_>, held: Held, disk: &Arc<Disk>) -> Result<Served, Refused> {
    let variant = &held.variant;
    let validators = Validators { etag: &variant.etag, modified: variant.modified };
    let mut headers = variant.fields.clone();
    headers.extend(held.varies.then_some(VARY));
    match conditions::check(asked.headers, validators) {
        Met::All => {}
        Met::NotModified => {
            return Ok(Served { status: StatusCode::NOT_MODIFIED, headers, body: Body::empty() });
        }
        Met::Failed => return Err(refused(precondition_failed())),
    }
    let length = variant.length;
    // Of HEAD a range means nothing (RFC 9110, section 14.2).
    let wants_part = *asked.method == Method::GET
        && conditions::may_send_part(asked.headers, validators, SystemTime::now());
    let part = if wants_part { range::part(asked.headers, length) } else { Part::Whole };
    let (status, range) = match part {
        Part::Whole => (StatusCode::OK, 0..length),
        Part::Bytes(range) => {
            let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            headers.push((header::CONTENT_RANGE, HeaderValue::from_str(&text).expect("numbers are ASCII")));
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Part::Unsatisfiable => return Err(unsatisfiable(length)),
    };
    headers.extend(variant.content_fields.iter().cloned());
    headers.push((header::CONTENT_LENGTH, (range.end - range.start).into()));
    let body = match (&variant.content, held.file) {
        _ if *asked.method == Method::HEAD => Body::empty(),
        // What is in memory is no longer than memory.
        (Some(content), _) => {
            let bytes = content.slice(range.start as usize..range.end as usize);
            Body::memory(bytes, Arc::clone(variant))
        }
        (None, Some(file)) => Body::file(file, range, Arc::clone(disk)),
        (None, None) => return Err(refused(Problem::internal())),
    };
    Ok(Served { status, headers, body })
}

pub(super) fn without_file(asked: &Asked<'_>, unheld: Unheld) -> Result<Served, Refused> {
    match unheld {
        Unheld::Missing(Missing::Nothing) => Err(refused(Problem::not_found())),
        Unheld::Missing(Missing::Slash) => with_slash(asked),
        Unheld::NotAcceptable => {
            let problem = Problem::new(
                "not-acceptable",
                StatusCode::NOT_ACCEPTABLE,
                "What is here comes in no coding that the request accepts.",
            );
            Err(Refused { problem, headers: vec![VARY] })
        }
        Unheld::Changing => Err(refused(Problem::unavailable())),
    }
}

/// Links of a folder's page start at the folder. Nothing but the slash is added, so that routes and guards are the same.
fn with_slash(asked: &Asked<'_>) -> Result<Served, Refused> {
    let query = asked.query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::from_bytes(format!("{}/{query}", asked.path).as_bytes())
        .map_err(|_| refused(Problem::bad_request("The query has an illegal byte.")))?;
    let headers = vec![
        (header::LOCATION, location),
        (header::CONTENT_LENGTH, 0.into()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok(Served { status: StatusCode::PERMANENT_REDIRECT, headers, body: Body::empty() })
}

/// Whether a browser asks for a page: of a single-page application every address that is no file is one.
pub(super) fn is_for_a_page(asked: &Asked<'_>) -> bool {
    let values = asked.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(','));
    let is_html = |range: &str| {
        let mut words = range.split(';').map(str::trim);
        let is_refused = |word: &str| {
            word.split_once('=').is_some_and(|(key, value)| {
                key.eq_ignore_ascii_case("q") && value.trim_end_matches(['0', '.']).is_empty()
            })
        };
        words.next().is_some_and(|name| name.eq_ignore_ascii_case("text/html")) && !words.any(is_refused)
    };
    !names::has_extension(asked.path) && ranges.any(is_html)
}

fn precondition_failed() -> Problem {
    let detail = "What is here is not what the request is conditional on.";
    Problem::new("precondition-failed", StatusCode::PRECONDITION_FAILED, detail)
}

fn unsatisfiable(length: u64) -> Refused {
    let detail = format!("There are {length} bytes here, and none of those that were asked for.");
    let problem = Problem::new("range-not-satisfiable", StatusCode::RANGE_NOT_SATISFIABLE, detail);
    let value = HeaderValue::from_str(&format!("bytes */{length}")).expect("a number is ASCII");
    Refused { problem, headers: vec![(header::CONTENT_RANGE, value)] }
}

fn refused(problem: Problem) -> Refused {
    Refused { problem, headers: Vec::new() }
}
