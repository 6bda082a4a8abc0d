//! `backend jobs`: what an operator sees and does at a terminal.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use crate::clock::EpochMillis;

use super::model::{JobSummary, Run, Status};
use super::service::Jobs;

/// Runs that `history` shows unless told otherwise.
const HISTORY: u32 = 20;

/// Items that it names of each run that skipped some.
const SKIPS: u32 = 5;

/// What can be asked of the jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows the jobs, when each is due, and its last run.
    List,
    /// Runs a job now and waits for its end. A run that was stopped or failed goes on where it stands.
    Run {
        /// The job's name.
        name: String,
        /// A date, or a moment of RFC 3339: the period that it lies in.
        #[arg(long)]
        period: Option<String>,
    },
    /// Shows the newest runs.
    History {
        /// Only runs of this job.
        name: Option<String>,
        /// How many.
        #[arg(long, default_value_t = HISTORY, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Stops a job's runs at their next chunk; `run` with their period goes on with them.
    Stop {
        /// The job's name.
        name: String,
    },
}

/// Does it; what is to be said. `stop` leaves a run to the backends.
pub async fn obey(jobs: &Jobs, command: &Command, stop: &CancellationToken) -> anyhow::Result<String> {
    match command {
        Command::List => Ok(list(&jobs.list().await?)),
        Command::History { name, limit } => {
            history(jobs, &jobs.history(name.as_deref(), None, *limit).await?).await
        }
        Command::Stop { name } => {
            let count = jobs.stop_runs(name).await.with_context(|| name.clone())?;
            Ok(format!("stopped {count} runs"))
        }
        Command::Run { name, period } => {
            let run = jobs.request(name, period.as_deref()).await.with_context(|| name.clone())?;
            let run = jobs.run_to_end(&run, stop).await?;
            match run.status {
                Status::Done => Ok(line(&run)),
                Status::Failed => bail!("{name} failed: {}", run.error.unwrap_or_default()),
                status => bail!("{name} is {}", status.as_str()),
            }
        }
    }
}

fn list(jobs: &[JobSummary]) -> String {
    let mut text = format!("{:<20} {:<26} {:<26} LAST", "JOB", "SCHEDULE", "NEXT");
    for job in jobs {
        let next = job.next_due_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let last = job.last_run.as_ref().map_or_else(
            || "never ran".to_owned(),
            |run| format!("{} for {}", run.status.as_str(), run.period),
        );
        let _ = write!(text, "\n{:<20} {:<26} {next:<26} {last}", job.name, job.schedule);
    }
    text
}

async fn history(jobs: &Jobs, runs: &[Run]) -> anyhow::Result<String> {
    if runs.is_empty() {
        return Ok("nothing has run".to_owned());
    }
    let mut lines = Vec::new();
    for run in runs {
        lines.push(line(run));
        if run.skipped > 0 {
            let skips = jobs.skips(run, SKIPS).await?;
            lines.extend(
                skips.iter().map(|skip| format!("  skipped {} in {}: {}", skip.item, skip.step, skip.reason)),
            );
        }
    }
    Ok(lines.join("\n"))
}

fn line(run: &Run) -> String {
    let Run { job, period, read, written, skipped, retried, .. } = run;
    let took = run.duration().map_or_else(String::new, |duration| format!(" in {duration:?}"));
    let started = run.started_at.map(|at: EpochMillis| format!(", begun {at}")).unwrap_or_default();
    let error = run.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!(
        "{job} for {period} {}{took}: {read} read, {written} written, {skipped} skipped, {retried} retried{started}{error}",
        run.status.as_str()
    )
}
