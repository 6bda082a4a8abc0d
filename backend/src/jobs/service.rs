//! All jobs of the service: what there is, what has run, and working them off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::{Timestamp, civil, tz::TimeZone};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::EpochMillis;
use crate::config;
use crate::database::Db;

use super::history::{self, Position};
use super::job::{Job, JobError};
use super::model::{JobSummary, Run, SkippedItem};
use super::runner::{Registered, Runner};
use super::schedule::Schedule;
use super::{report, repository, timers};

/// How often the last successes of all backends are read for the metrics.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);

/// The jobs. Cloning it is cheap.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    db: Db,
    jobs: Vec<Registered>,
    handlers: Vec<Box<dyn timers::Handler>>,
    runner: Runner,
    poll: Duration,
    zone: TimeZone,
}

/// Why a run can't be had.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No job has this name.
    #[error("there is no job of this name")]
    NoSuchJob,
    /// The period can't be read.
    #[error("a period is a date, or a moment of RFC 3339")]
    NoPeriod,
    /// The period isn't over.
    #[error("this period is not over yet")]
    NotOver,
    /// The run of this period is done.
    #[error("the run of this period is done already")]
    AlreadyDone,
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl Jobs {
    /// These jobs and timers, on the schedules of the configuration.
    pub fn new(
        config: &config::Jobs,
        db: Db,
        jobs: Vec<Box<dyn Job>>,
        handlers: Vec<Box<dyn timers::Handler>>,
    ) -> anyhow::Result<Self> {
        let mut crons: BTreeMap<_, _> = config.schedules.iter().collect();
        let mut registered = Vec::new();
        for job in jobs {
            let cron = crons.remove(&job.name().to_owned()).map_or(job.cron(), String::as_str);
            let schedule = Schedule::parse(cron, &config.time_zone)
                .with_context(|| format!("jobs.schedules.{}", job.name()))?;
            registered.push(Registered { job, schedule });
        }
        if let Some(unknown) = crons.keys().next() {
            anyhow::bail!("jobs.schedules.{unknown}: there is no such job");
        }
        let runner = Runner::new(db.clone(), config);
        let (poll, zone) = (config.poll, config.time_zone.clone());
        Ok(Self(Arc::new(Inner { db, jobs: registered, handlers, runner, poll, zone })))
    }

    /// Begins to work off what is due, until it is told to stop.
    pub fn start(&self) -> Running {
        report::describe(self.0.jobs.iter().map(|registered| registered.job.name()));
        let abort = CancellationToken::new();
        let running = Running { stop: CancellationToken::new(), tasks: TaskTracker::new(), abort };
        for index in 0..self.0.jobs.len() {
            let (jobs, stop) = (self.clone(), running.stop.clone());
            running.spawn_until(&running.abort, async move { jobs.work_on(index, &stop).await });
        }
        let jobs = self.clone();
        running.spawn_until(&running.stop, async move { jobs.watch_timers().await });
        let jobs = self.clone();
        running.spawn_until(&running.stop, async move { jobs.keep_reporting().await });
        running.tasks.close();
        running
    }

    /// Plans what has become due by `now` and works it off, job by job; how many runs it took up.
    pub async fn work_off(&self, now: Timestamp) -> sqlx::Result<u64> {
        let mut count = 0;
        for registered in &self.0.jobs {
            self.0.runner.plan(registered, now).await?;
            count += self.0.runner.work_off(&*registered.job, &CancellationToken::new()).await?;
        }
        Ok(count)
    }

    /// Lets all timers go off that are due at `now`.
    pub async fn fire_timers(&self, now: EpochMillis) -> Result<(), JobError> {
        for handler in &self.0.handlers {
            timers::fire_due(&self.0.db, &**handler, now).await?;
        }
        Ok(())
    }

    /// All jobs, by their order of registration.
    pub async fn list(&self) -> sqlx::Result<Vec<JobSummary>> {
        let mut summaries = Vec::new();
        for Registered { job, schedule } in &self.0.jobs {
            summaries.push(JobSummary {
                name: job.name(),
                schedule: schedule.to_string(),
                next_due_at: schedule.next_after(Timestamp::now()).map(EpochMillis::from),
                last_run: history::find_newest(&self.0.db, job.name()).await?,
            });
        }
        Ok(summaries)
    }

    /// At most `limit` runs, of all jobs or of one, those due last first.
    pub async fn history(
        &self,
        job: Option<&str>,
        after: Option<&Position>,
        limit: u32,
    ) -> sqlx::Result<Vec<Run>> {
        history::list(&self.0.db, job, after, limit).await
    }

    /// What a run left out, at most `limit` items.
    pub async fn skips(&self, run: &Run, limit: u32) -> sqlx::Result<Vec<SkippedItem>> {
        history::skips(&self.0.db, &run.id, limit).await
    }

    /// Asks for a run of the period that `period` lies in (a date, or a moment of RFC 3339; by default the one that
    /// would be due now). A run that was stopped or failed goes on where it stands.
    pub async fn request(&self, name: &str, period: Option<&str>) -> Result<Run, RunError> {
        let job = &self.find(name)?.job;
        let now = Timestamp::now();
        let period: EpochMillis = match period {
            None => job.period_due_at(now).into(),
            Some(text) => {
                let moment = self.moment(text).ok_or(RunError::NoPeriod)?;
                let is_past = |period: &Timestamp| *period <= now;
                job.period_of(moment, now).filter(is_past).ok_or(RunError::NotOver)?.into()
            }
        };
        if !repository::request(&self.0.db, name, period, now.into()).await? {
            return Err(RunError::AlreadyDone);
        }
        history::find(&self.0.db, name, period).await?.ok_or(RunError::NoPeriod)
    }

    /// Waits until `run` has ended, and works on it itself whenever no other backend does. When `stop` is cancelled
    /// the run is left to the backends.
    pub async fn run_to_end(&self, run: &Run, stop: &CancellationToken) -> Result<Run, RunError> {
        let job = &self.find(&run.job)?.job;
        loop {
            self.0.runner.work_off(&**job, stop).await?;
            let found = history::find(&self.0.db, &run.job, run.period).await?.ok_or(RunError::NoPeriod)?;
            if found.status.is_ended() || stop.is_cancelled() {
                return Ok(found);
            }
            tokio::time::sleep(self.0.poll).await;
        }
    }

    /// Stops the job's runs that haven't ended, at the next chunk; how many there were.
    pub async fn stop_runs(&self, name: &str) -> Result<u64, RunError> {
        let job = &self.find(name)?.job;
        Ok(repository::stop(&self.0.db, job.name(), EpochMillis::now()).await?)
    }

    fn find(&self, name: &str) -> Result<&Registered, RunError> {
        self.0.jobs.iter().find(|registered| registered.job.name() == name).ok_or(RunError::NoSuchJob)
    }

    fn moment(&self, text: &str) -> Option<Timestamp> {
        if let Ok(moment) = text.parse() {
            return Some(moment);
        }
        let date: civil::Date = text.parse().ok()?;
        date.to_zoned(self.0.zone.clone()).ok().map(|zoned| zoned.timestamp())
    }

    async fn work_on(&self, index: usize, stop: &CancellationToken) {
        let registered = &self.0.jobs[index];
        while !stop.is_cancelled() {
            let pass = async {
                self.0.runner.plan(registered, Timestamp::now()).await?;
                self.0.runner.work_off(&*registered.job, stop).await
            };
            if let Err(error) = pass.await {
                tracing::warn!(%error, job = registered.job.name(), "jobs can't be worked on now");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.0.poll) => {}
            }
        }
    }

    async fn watch_timers(&self) {
        while !self.0.handlers.is_empty() {
            if let Err(error) = self.fire_timers(EpochMillis::now()).await {
                tracing::warn!(%error, "timers can't go off now");
            }
            tokio::time::sleep(self.0.poll).await;
        }
    }

    async fn keep_reporting(&self) {
        loop {
            if let Err(error) = report::refresh(&self.0.db).await {
                tracing::debug!(%error, "the jobs' successes can't be read now");
            }
            tokio::time::sleep(REPORT_INTERVAL).await;
        }
    }
}

/// The tasks that work jobs off. Dropped, they end wherever they are.
pub struct Running {
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// Lets chunks in progress be committed, for at most `grace`, and gives the runs back to other backends.
    pub async fn stop(self, grace: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!("a job's chunk was cut off; another backend repeats it");
        }
    }

    fn spawn_until(&self, end: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
        let end = end.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = task => {}
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}
