//! What admins do with users; it takes the role `admin`.

use access_token::Role;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use serde::Deserialize;
use uuid::Uuid;

use crate::auth::current_user::CurrentUser;
use crate::auth::model::Me;
use crate::auth::service::Auth;
use crate::extract::{Json, Path, Query};
use crate::pagination::{self, Page};
use crate::problem::Problem;

/// The routes.
pub fn router(auth: Auth) -> Router {
    Router::new()
        .route("/admin/api/users", get(list))
        .route("/admin/api/users/{id}/role", put(set_role))
        .route("/admin/api/users/{id}/revoke-sessions", post(revoke_sessions))
        .with_state(auth)
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list(
    State(auth): State<Auth>,
    user: CurrentUser,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Me>>, Problem> {
    user.require(Role::Admin)?;
    let limit = pagination::limit(query.limit)?;
    let id = |text: &str| Uuid::try_parse(text).is_ok().then(|| text.to_owned());
    let after = pagination::after(query.cursor.as_deref(), id)?;
    let items = auth.users(after.as_deref().unwrap_or_default(), i64::from(limit) + 1).await?;
    Ok(Json(Page::of(items, limit, |last| last.id().to_owned())))
}

#[derive(Deserialize)]
struct NewRole {
    role: Role,
}

async fn set_role(
    State(auth): State<Auth>,
    user: CurrentUser,
    Path(id): Path<String>,
    Json(body): Json<NewRole>,
) -> Result<StatusCode, Problem> {
    user.require(Role::Admin)?;
    auth.set_role(&id, body.role).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke_sessions(
    State(auth): State<Auth>,
    user: CurrentUser,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    user.require(Role::Admin)?;
    auth.sign_out_everywhere(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
