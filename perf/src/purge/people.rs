//! Who asks: users with sessions of their own, and an admin who starts the job.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::time::sleep;

use crate::api::{Ask, Service};
use crate::user::{User, sign_in};

/// Users who refresh their sessions in turn: so many that nobody waits for the answer before.
const USERS: usize = 20;

/// As `config/backend.toml` names the development's.
const ADMIN: &str = "admin";

const JOB: &str = "/admin/api/batch/jobs/purge-sessions/run";
const RUNS: &str = "/admin/api/batch/runs?job=purge-sessions&limit=1";

/// Between two looks at the run.
const LOOK: Duration = Duration::from_millis(250);

/// Longer than a purge ever takes.
const PATIENCE: Duration = Duration::from_secs(900);

/// Signed in, all of them.
pub(super) struct People {
    pub(super) service: Service,
    pub(super) users: Vec<User>,
    /// A vendor whose page is asked for.
    pub(super) vendor: String,
    admin: User,
}

/// The run that purged.
pub(super) struct Job {
    pub(super) written: u64,
    pub(super) duration: Duration,
}

impl People {
    pub(super) async fn sign_in(api: &str, provider: &str) -> anyhow::Result<Self> {
        let (service, provider) = (Service::parse(api)?, Service::parse(provider)?);
        let (mut api, mut provider) = (service.connect().await?, provider.connect().await?);
        let mut users = Vec::new();
        for number in 0..USERS {
            users.push(sign_in(&mut api, &mut provider, &format!("purge-{number}")).await?);
        }
        let admin = sign_in(&mut api, &mut provider, ADMIN).await?;
        let vendors = api.ask(&Ask::get("/api/vendors?limit=1")).await?;
        let vendor = vendors["items"][0]["id"].as_str().context("the stack has no vendors")?.to_owned();
        Ok(Self { service, users, vendor, admin })
    }

    /// Has the job run, and waits for its end.
    pub(super) async fn purge(&self) -> anyhow::Result<Job> {
        let mut api = self.service.connect().await?;
        let asked = api.ask(&Ask::post(JOB, json!({})).of(&self.admin.access_token)).await?;
        let began = tokio::time::Instant::now();
        loop {
            let runs = api.ask(&Ask::get(RUNS).of(&self.admin.access_token)).await?;
            let run = &runs["items"][0];
            let status = run["status"].as_str().unwrap_or_default();
            if run["id"] == asked["id"] && !["waiting", "running"].contains(&status) {
                ensure!(status == "done", "the job is {status}: {}", run["error"]);
                let written = run["written"].as_u64().context("no count")?;
                let millis = run["duration_ms"].as_u64().context("no duration")?;
                return Ok(Job { written, duration: Duration::from_millis(millis) });
            }
            ensure!(began.elapsed() < PATIENCE, "the job doesn't end");
            sleep(LOOK).await;
        }
    }
}
