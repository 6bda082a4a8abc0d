//! Routes of reservations, and of what is left to reserve.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
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
use crate::reservations::lifecycle::Action;
use crate::reservations::model::{AvailableSlot, Reservation, ServiceAvailability};
use crate::reservations::service::{self, Caller, Reservations};
use crate::reservations::store::Position;

mod calendar;
mod errors;
mod vendor;
mod waitlist;

const DEFAULT_DAYS: i64 = 7;
const MAX_DAYS: i64 = 31;

/// Of all services of a vendor at once.
const MAX_DAYS_OF_ALL: i64 = 7;

/// The routes.
pub fn router(reservations: Reservations) -> Router {
    Router::new()
        .route("/api/reservations", get(list).post(reserve))
        .route("/api/reservations/{id}", get(show))
        .route("/api/reservations/{id}/reschedule", post(reschedule))
        .route("/api/reservations/{id}/cancel", change_by(Action::Cancel))
        .route("/api/vendors/{id}/availability", get(availability))
        .merge(vendor::router())
        .merge(waitlist::router())
        .merge(calendar::router())
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
    let found = reservations.find(id, &user.into()).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("There is no such reservation."))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RescheduleBody {
    starts_at: Timestamp,
}

async fn reschedule(
    State(reservations): State<Reservations>,
    user: CurrentUser,
    Path(id): Path<Uuid>,
    Json(body): Json<RescheduleBody>,
) -> Result<Json<Reservation>, Problem> {
    Ok(Json(reservations.reschedule(id, &user.into(), body.starts_at).await?))
}

/// A POST without a body that does this to a booking.
fn change_by(action: Action) -> MethodRouter<Reservations> {
    post(
        async move |State(reservations): State<Reservations>,
                    user: CurrentUser,
                    Path(id): Path<Uuid>|
                    -> Result<Json<Reservation>, Problem> {
            Ok(Json(reservations.change(id, &Caller::from(user), action).await?))
        },
    )
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
    Ok(Json(Page::of(items, limit, key)))
}

/// What a list of bookings goes on after.
fn key(last: &Reservation) -> String {
    format!("{}.{}", last.starts_at.0, last.id)
}

/// What a cursor of the list holds.
fn position(key: &str) -> Option<Position> {
    let (starts_at, id) = key.split_once('.')?;
    Some((EpochMillis(starts_at.parse().ok()?), Uuid::try_parse(id).ok()?.to_string()))
}

#[derive(Deserialize)]
struct AvailabilityQuery {
    service_id: Option<Uuid>,
    from: Option<Date>,
    days: Option<i64>,
}

/// Of one service, as it was asked for, or of all.
#[derive(Serialize)]
#[serde(untagged)]
enum Availability {
    One { slots: Vec<AvailableSlot> },
    All { services: Vec<ServiceAvailability> },
}

async fn availability(
    State(reservations): State<Reservations>,
    Path(vendor_id): Path<Uuid>,
    Query(query): Query<AvailabilityQuery>,
) -> Result<Json<Availability>, Problem> {
    let days = query.days.unwrap_or(DEFAULT_DAYS);
    let max_days = if query.service_id.is_some() { MAX_DAYS } else { MAX_DAYS_OF_ALL };
    if !(1..=max_days).contains(&days) {
        return Err(Problem::unprocessable("invalid-days", format!("`days` goes from 1 to {max_days}.")));
    }
    let found = reservations.availability(vendor_id, query.service_id, query.from, days).await?;
    let mut services = found.ok_or_else(|| Problem::not_found("This vendor has no such service."))?;
    Ok(Json(match query.service_id {
        Some(_) => Availability::One { slots: services.pop().map(|one| one.slots).unwrap_or_default() },
        None => Availability::All { services },
    }))
}
