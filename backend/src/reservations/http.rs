//! Routes of reservations, and of what is left to reserve.

use std::time::Duration;

use access_token::Role;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::auth::current_user::CurrentUser;
use crate::clock::EpochMillis;
use crate::extract::{Json, Path, Query};
use crate::pagination::{self, Page};
use crate::problem::Problem;
use crate::reservations::idempotency::IdempotencyKey;
use crate::reservations::model::{AvailableSlot, Reservation};
use crate::reservations::service::{self, MAX_NOTE_CHARS, Reservations, ReserveError};
use crate::reservations::store::Position;

const DEFAULT_DAYS: i64 = 7;
const MAX_DAYS: i64 = 31;

/// After this long whoever holds a place's lock has usually got the place, or left it.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// The routes.
pub fn router(reservations: Reservations) -> Router {
    Router::new()
        .route("/api/reservations", get(list).post(reserve))
        .route("/api/reservations/{id}", get(show))
        .route("/api/vendors/{id}/availability", get(availability))
        .with_state(reservations)
}

#[derive(Deserialize)]
struct ReserveBody {
    service_id: Uuid,
    starts_at: Timestamp,
    party_size: Option<i64>,
    note: Option<String>,
}

async fn reserve(
    State(reservations): State<Reservations>,
    user: CurrentUser,
    headers: HeaderMap,
    Json(body): Json<ReserveBody>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers, &body)?;
    let request = service::Request {
        service_id: body.service_id,
        starts_at: body.starts_at,
        party_size: body.party_size.unwrap_or(1),
        note: body.note.filter(|note| !note.trim().is_empty()),
    };
    let answer = reservations.reserve_once(&user.id, request, key).await?;
    let made: Made = serde_json::from_str(&answer).map_err(|error| Problem::internal(&error))?;
    let location =
        HeaderValue::from_str(&format!("/api/reservations/{}", made.id)).expect("an id is a header's value");
    let json = HeaderValue::from_static("application/json");
    let headers = [(header::LOCATION, location), (header::CONTENT_TYPE, json)];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// Of an answer that was kept: whose it is.
#[derive(Deserialize)]
struct Made {
    id: Uuid,
}

/// The key of a request that has one, bound to what the request asks for.
fn idempotency_key(headers: &HeaderMap, body: &ReserveBody) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let ReserveBody { service_id, starts_at, party_size, note } = body;
    let request = json!([service_id, starts_at, party_size.unwrap_or(1), note]).to_string();
    let key = value.to_str().ok().and_then(|text| IdempotencyKey::new(text, &request));
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => {
            let detail = "`Idempotency-Key` is one text of 1 to 255 visible ASCII characters.";
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid-idempotency-key", detail))
        }
    }
}

async fn show(
    State(reservations): State<Reservations>,
    user: CurrentUser,
    Path(id): Path<Uuid>,
) -> Result<Json<Reservation>, Problem> {
    let found = reservations.find(id, &user.id, user.role >= Role::Admin).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("There is no such reservation."))
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list(
    State(reservations): State<Reservations>,
    user: CurrentUser,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Reservation>>, Problem> {
    let limit = pagination::limit(query.limit)?;
    let after = pagination::after(query.cursor.as_deref(), position)?;
    let items = reservations.list(&user.id, after.as_ref(), limit + 1).await?;
    Ok(Json(Page::of(items, limit, |last| format!("{}.{}", last.starts_at.0, last.id))))
}

/// What a cursor of the list holds.
fn position(key: &str) -> Option<Position> {
    let (starts_at, id) = key.split_once('.')?;
    Some((EpochMillis(starts_at.parse().ok()?), Uuid::try_parse(id).ok()?.to_string()))
}

#[derive(Deserialize)]
struct AvailabilityQuery {
    service_id: Uuid,
    from: Option<Date>,
    days: Option<i64>,
}

#[derive(Serialize)]
struct Availability {
    slots: Vec<AvailableSlot>,
}

async fn availability(
    State(reservations): State<Reservations>,
    Path(vendor_id): Path<Uuid>,
    Query(query): Query<AvailabilityQuery>,
) -> Result<Json<Availability>, Problem> {
    let days = query.days.unwrap_or(DEFAULT_DAYS);
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(Problem::unprocessable("invalid-days", format!("`days` goes from 1 to {MAX_DAYS}.")));
    }
    let slots = reservations.availability(vendor_id, query.service_id, query.from, days).await?;
    let slots = slots.ok_or_else(|| Problem::not_found("This vendor has no such service."))?;
    Ok(Json(Availability { slots }))
}

impl From<ReserveError> for Problem {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::NoSuchService => Self::not_found("There is no such service."),
            ReserveError::PartySize { capacity } => {
                Self::unprocessable("invalid-party-size", format!("`party_size` goes from 1 to {capacity}."))
            }
            ReserveError::NoteTooLong => Self::unprocessable(
                "note-too-long",
                format!("`note` has {MAX_NOTE_CHARS} characters at most."),
            ),
            ReserveError::InThePast => Self::unprocessable("in-the-past", "`starts_at` has passed."),
            ReserveError::NoSuchSlot => Self::unprocessable(
                "no-such-slot",
                "No slot begins then: it lies outside the opening hours, or not on a step.",
            ),
            ReserveError::KeyReused => Self::unprocessable(
                "idempotency-key-reused",
                "This `Idempotency-Key` was used for another request.",
            ),
            ReserveError::SlotTaken => Self::conflict("slot-taken", "Not enough places are left."),
            ReserveError::SlotBusy => {
                Self::conflict("slot-busy", "Somebody is booking this place right now; it may become free.")
                    .with_retry_after(BUSY_RETRY)
            }
            ReserveError::Database(error) => error.into(),
            cause @ ReserveError::Aborted(_) => Self::internal(&cause),
        }
    }
}
