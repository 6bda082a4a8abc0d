//! The routes of the jobs; they take the role `admin`.

use access_token::Role;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::current_user::CurrentUser;
use crate::clock::EpochMillis;
use crate::extract::{Json, Path, Query};
use crate::jobs::history::Position;
use crate::jobs::model::{JobSummary, Run};
use crate::jobs::service::{Jobs, RunError};
use crate::pagination::{self, Page};
use crate::problem::Problem;

/// The routes.
pub fn router(jobs: Jobs) -> Router {
    Router::new()
        .route("/admin/api/batch/jobs", get(list_jobs))
        .route("/admin/api/batch/runs", get(list_runs))
        .route("/admin/api/batch/jobs/{name}/run", post(run))
        .with_state(jobs)
}

#[derive(Serialize)]
struct JobList {
    items: Vec<JobSummary>,
    /// Jobs are few: one page holds them all.
    next_cursor: Option<String>,
}

async fn list_jobs(State(jobs): State<Jobs>, user: CurrentUser) -> Result<Json<JobList>, Problem> {
    user.require(Role::Admin)?;
    Ok(Json(JobList { items: jobs.list().await?, next_cursor: None }))
}

#[derive(Deserialize)]
struct RunsQuery {
    job: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list_runs(
    State(jobs): State<Jobs>,
    user: CurrentUser,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Page<Run>>, Problem> {
    user.require(Role::Admin)?;
    let limit = pagination::limit(query.limit)?;
    let after = pagination::after(query.cursor.as_deref(), position)?;
    let items = jobs.history(query.job.as_deref(), after.as_ref(), limit + 1).await?;
    Ok(Json(Page::of(items, limit, |last| format!("{}.{}", last.due_at.0, last.id))))
}

/// What a cursor of the list holds.
fn position(key: &str) -> Option<Position> {
    let (due_at, id) = key.split_once('.')?;
    Some((EpochMillis(due_at.parse().ok()?), Uuid::try_parse(id).ok()?.to_string()))
}

#[derive(Deserialize)]
struct RunQuery {
    period: Option<String>,
}

/// 202: a backend takes the run up within a moment.
async fn run(
    State(jobs): State<Jobs>,
    user: CurrentUser,
    Path(name): Path<String>,
    Query(query): Query<RunQuery>,
) -> Result<(StatusCode, Json<Run>), Problem> {
    user.require(Role::Admin)?;
    let run = jobs.request(&name, query.period.as_deref()).await?;
    tracing::info!(user = user.id, job = name, run = run.id, "a run was asked for");
    Ok((StatusCode::ACCEPTED, Json(run)))
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        match error {
            RunError::NoSuchJob => Self::not_found("There is no such job."),
            RunError::NoPeriod => {
                Self::unprocessable("invalid-period", "`period` is a date, or a moment of RFC 3339.")
            }
            RunError::NotOver => Self::unprocessable("period-not-over", "This period is not over yet."),
            RunError::AlreadyDone => {
                Self::conflict("run-already-done", "The run of this period is done already.")
            }
            RunError::Database(error) => error.into(),
        }
    }
}
