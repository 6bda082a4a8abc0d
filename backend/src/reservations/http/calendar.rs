//! Bookings in calendars: one as a file, a user's own as a private feed.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Serialize;
use uuid::Uuid;

use crate::auth::current_user::CurrentUser;
use crate::extract::{Json, Path};
use crate::problem::Problem;
use crate::reservations::service::Reservations;

/// A feed is its user's alone.
const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/calendar; charset=utf-8")),
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
];

pub(super) fn router() -> Router<Reservations> {
    Router::new()
        .route("/api/reservations/{id}/calendar.ics", get(show))
        .route("/api/calendar-feed", post(renew).delete(end))
        .route("/api/calendar/{file}", get(feed))
}

async fn show(
    State(reservations): State<Reservations>,
    user: CurrentUser,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    let text = reservations.calendar_of(id, &user.into()).await?;
    let text = text.ok_or_else(|| Problem::not_found("There is no such reservation."))?;
    Ok((HEADERS, text).into_response())
}

#[derive(Serialize)]
struct Feed {
    /// Relative to the site.
    path: String,
}

/// The secret is told this once; a former one ends.
async fn renew(
    State(reservations): State<Reservations>,
    user: CurrentUser,
) -> Result<(StatusCode, Json<Feed>), Problem> {
    let secret = reservations.renew_feed(&user.id).await?;
    Ok((StatusCode::CREATED, Json(Feed { path: format!("/api/calendar/{secret}.ics") })))
}

async fn end(State(reservations): State<Reservations>, user: CurrentUser) -> Result<StatusCode, Problem> {
    reservations.end_feed(&user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn feed(
    State(reservations): State<Reservations>,
    Path(file): Path<String>,
) -> Result<Response, Problem> {
    let text = match file.strip_suffix(".ics") {
        Some(secret) => reservations.feed(secret).await?,
        None => None,
    };
    let text = text.ok_or_else(|| Problem::not_found("There is no such calendar."))?;
    Ok((HEADERS, text).into_response())
}
