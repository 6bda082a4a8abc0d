//! The routes of notifications. Each user sees their own.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use crate::auth::current_user::CurrentUser;
use crate::extract::{Json, Query};
use crate::pagination::{self, Page};
use crate::problem::Problem;

use super::model::{Notification, NotificationId};
use super::service::Notifications;

/// All routes of notifications.
pub fn router(notifications: Notifications) -> Router {
    Router::new()
        .route("/api/notifications", get(list))
        .route("/api/notifications/read", post(read))
        .with_state(notifications)
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct List {
    #[serde(flatten)]
    page: Page<Notification>,
    unread: u64,
}

async fn list(
    State(notifications): State<Notifications>,
    user: CurrentUser,
    Query(query): Query<ListQuery>,
) -> Result<Json<List>, Problem> {
    let limit = pagination::limit(query.limit)?;
    let before = pagination::after(query.cursor.as_deref(), NotificationId::parse)?;
    let inbox = notifications.inbox(&user.id, before, limit + 1).await?;
    let page = Page::of(inbox.items, limit, |last| last.id.to_string());
    Ok(Json(List { page, unread: inbox.unread }))
}

#[derive(Deserialize)]
struct Read {
    up_to: String,
}

#[derive(Serialize)]
struct Unread {
    unread: u64,
}

async fn read(
    State(notifications): State<Notifications>,
    user: CurrentUser,
    Json(body): Json<Read>,
) -> Result<Json<Unread>, Problem> {
    let up_to = NotificationId::parse(&body.up_to)
        .ok_or_else(|| Problem::unprocessable("invalid-body", "`up_to` is the id of a notification."))?;
    Ok(Json(Unread { unread: notifications.read(&user.id, up_to).await? }))
}
