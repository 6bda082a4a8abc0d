//! The vendor's side: what is booked there, and what is decided about it.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use jiff::civil::Date;
use serde::Deserialize;
use uuid::Uuid;

use super::{change_by, key, position};
use crate::auth::current_user::CurrentUser;
use crate::extract::{Json, Path, Query};
use crate::pagination::{self, Page};
use crate::problem::Problem;
use crate::reservations::lifecycle::Action;
use crate::reservations::model::Reservation;
use crate::reservations::service::Reservations;

pub(super) fn router() -> Router<Reservations> {
    Router::new()
        .route("/api/vendors/{id}/reservations", get(list))
        .route("/api/reservations/{id}/approve", change_by(Action::Approve))
        .route("/api/reservations/{id}/reject", change_by(Action::Reject))
        .route("/api/reservations/{id}/complete", change_by(Action::Complete))
        .route("/api/reservations/{id}/no-show", change_by(Action::NoShow))
}

/// Local days of the vendor, both included.
#[derive(Deserialize)]
struct ListQuery {
    from: Option<Date>,
    to: Option<Date>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list(
    State(reservations): State<Reservations>,
    user: CurrentUser,
    Path(vendor_id): Path<Uuid>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Reservation>>, Problem> {
    let limit = pagination::limit(query.limit)?;
    let after = pagination::after(query.cursor.as_deref(), position)?;
    let days = (query.from, query.to);
    let items = reservations.list_of_vendor(vendor_id, &user.into(), days, after.as_ref(), limit + 1).await?;
    Ok(Json(Page::of(items, limit, key)))
}
