//! The waitlist of slots that are full.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, post};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::auth::current_user::CurrentUser;
use crate::extract::{Json, Path};
use crate::pagination::Page;
use crate::problem::Problem;
use crate::reservations::model::WaitlistEntry;
use crate::reservations::service::{Request, Reservations};

pub(super) fn router() -> Router<Reservations> {
    Router::new().route("/api/waitlist", post(wait).get(list)).route("/api/waitlist/{id}", delete(leave))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitBody {
    service_id: Uuid,
    starts_at: Timestamp,
    party_size: Option<i64>,
}

async fn wait(
    State(reservations): State<Reservations>,
    user: CurrentUser,
    Json(body): Json<WaitBody>,
) -> Result<Response, Problem> {
    let request = Request {
        service_id: body.service_id,
        starts_at: body.starts_at,
        party_size: body.party_size.unwrap_or(1),
        note: None,
    };
    let entry = reservations.wait(&user.id, request).await?;
    let location =
        HeaderValue::from_str(&format!("/api/waitlist/{}", entry.id)).expect("an id is a header's value");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(entry)).into_response())
}

/// One page holds all that a user may wait for.
async fn list(
    State(reservations): State<Reservations>,
    user: CurrentUser,
) -> Result<Json<Page<WaitlistEntry>>, Problem> {
    let items = reservations.waits_for(&user.id).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

async fn leave(
    State(reservations): State<Reservations>,
    user: CurrentUser,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    reservations.leave(&user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
