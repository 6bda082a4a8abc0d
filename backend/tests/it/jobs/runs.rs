//! Periods, retries, skips, stops.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use backend::jobs::command;
use backend::jobs::job::Missed;
use backend::jobs::model::Status;
use backend::jobs::service::RunError;
use jiff::{Timestamp, ToSpan as _};
use tokio_util::sync::CancellationToken;

use crate::harness::{Stack, eventually};
use crate::jobs::rows::{Rows, jobs_on, written};
use crate::jobs::tell;

/// `DAEMUN_JOBS_PERIODS=1000` for the full proof.
fn periods() -> i64 {
    std::env::var("DAEMUN_JOBS_PERIODS").ok().and_then(|n| n.parse().ok()).unwrap_or(100)
}

fn long_ago() -> Timestamp {
    "2026-01-01T00:00:30Z".parse().expect("a moment")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_backends_after_the_same_periods_run_each_once() {
    let stack = Stack::start().await;
    let (one, two) = (jobs_on(&stack, Rows::new(2)).await, jobs_on(&stack, Rows::new(2)).await);
    one.work_off(long_ago()).await.expect("begun");
    let mut taken = [0, 0];
    for minute in 1..=periods() {
        let now = long_ago() + minute.minutes();
        let (by_one, by_two) = tokio::join!(
            tokio::spawn({
                let one = one.clone();
                async move { one.work_off(now).await }
            }),
            tokio::spawn({
                let two = two.clone();
                async move { two.work_off(now).await }
            }),
        );
        taken[0] += by_one.expect("ran").expect("worked");
        taken[1] += by_two.expect("ran").expect("worked");
    }
    let total = taken[0] + taken[1];
    tell(&format!("{} periods: {} runs by one backend, {} by the other", periods(), taken[0], taken[1]));
    assert_eq!(total, u64::try_from(periods()).expect("positive"));
    let rows = written(&stack.db).await;
    assert_eq!(rows.len(), usize::try_from(periods() * 4).expect("positive"));
    assert_eq!(rows.iter().collect::<HashSet<_>>().len(), rows.len(), "nothing twice");
    let runs = one.history(Some("rows"), None, 1000).await.expect("read");
    assert!(runs.iter().all(|run| run.status == Status::Done && run.epoch == 1 && run.read == 4), "{runs:?}");
}

#[tokio::test]
async fn missed_periods_are_made_up_for_or_noted_as_the_job_wants() {
    for (missed, done) in [(Missed::RunLate, 5), (Missed::Skip, 1)] {
        let stack = Stack::start().await;
        let jobs = jobs_on(&stack, Rows { missed, ..Rows::new(1) }).await;
        jobs.work_off(long_ago()).await.expect("begun");
        // Nobody is there for five minutes; only the last period is just due.
        jobs.work_off(long_ago() + 5.minutes()).await.expect("worked");
        let runs = jobs.history(None, None, 100).await.expect("read");
        let count = |status| runs.iter().filter(|run| run.status == status).count();
        assert_eq!((count(Status::Done), count(Status::Skipped)), (done, 5 - done), "{missed:?}");
    }
}

#[tokio::test]
async fn a_failed_attempt_writes_nothing_and_is_repeated_up_to_the_limit() {
    let stack = Stack::start().await;
    let job = Rows::new(3);
    let failures = job.failures.clone();
    let jobs = jobs_on(&stack, job).await;
    failures.store(1, Ordering::Release);
    let run = jobs.request("rows", None).await.expect("asked for");
    let run = jobs.run_to_end(&run, &CancellationToken::new()).await.expect("ended");
    assert_eq!((run.status, run.retried, run.read, run.written), (Status::Done, 1, 6, 6), "{run:?}");
    assert_eq!(run.error.as_deref(), Some("a chunk took longer than 0ns"), "what it was tried again for");
    assert_eq!(written(&stack.db).await.len(), 6);

    failures.store(i64::MAX, Ordering::Release);
    let run = jobs.request("rows", None).await.expect("asked for");
    let run = jobs.run_to_end(&run, &CancellationToken::new()).await.expect("ended");
    assert_eq!((run.status, run.retried), (Status::Failed, 2), "{run:?}");
    assert_eq!(run.error.as_deref(), Some("a chunk took longer than 0ns"));
    assert_eq!(written(&stack.db).await.len(), 6, "what failed was rolled back");
}

#[tokio::test]
async fn a_run_that_cannot_succeed_fails_at_once_and_goes_on_when_asked() {
    let stack = Stack::start().await;
    let job = Rows { is_transient: false, ..Rows::new(2) };
    let failures = job.failures.clone();
    let jobs = jobs_on(&stack, job).await;
    failures.store(1, Ordering::Release);
    let period = "2026-02-01T00:00:00Z";
    let asked = jobs.request("rows", Some(period)).await.expect("asked for");
    let run = jobs.run_to_end(&asked, &CancellationToken::new()).await.expect("ended");
    assert_eq!((run.status, run.error.as_deref()), (Status::Failed, Some("out of paper")));

    let again = jobs.request("rows", Some(period)).await.expect("asked for");
    assert_eq!((again.id.as_str(), again.status), (asked.id.as_str(), Status::Waiting));
    assert_eq!(again.started_at, None, "the time that it lay there is neither lateness nor duration");
    let run = jobs.run_to_end(&again, &CancellationToken::new()).await.expect("ended");
    assert_eq!((run.status, run.epoch, run.error.as_deref()), (Status::Done, 2, None), "{run:?}");
    assert!(run.started_at >= Some(run.due_at), "{run:?}");
    let error = jobs.request("rows", Some(period)).await.expect_err("done already");
    assert!(matches!(error, RunError::AlreadyDone), "{error}");
    assert_eq!(written(&stack.db).await.len(), 4);
}

#[tokio::test]
async fn skips_are_noted_and_limited() {
    let stack = Stack::start().await;
    let run = async |skips| {
        let jobs = jobs_on(&stack, Rows { skips, ..Rows::new(1) }).await;
        let run = jobs.request("rows", None).await.expect("asked for");
        jobs.run_to_end(&run, &CancellationToken::new()).await.expect("ended")
    };
    let within = run(1).await;
    assert_eq!((within.status, within.skipped), (Status::Done, 2), "{within:?}");
    let jobs = jobs_on(&stack, Rows::new(1)).await;
    let history = command::Command::History { name: None, limit: 1 };
    let said = command::obey(&jobs, &history, &CancellationToken::new()).await.expect("read");
    let named: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(
        named,
        ["  skipped 0.0 in first: unreadable", "  skipped 0.0 in second: unreadable"],
        "{said}"
    );
    let beyond = run(2).await;
    assert_eq!(beyond.status, Status::Failed);
    assert_eq!(beyond.error.as_deref(), Some("more than 3 items were skipped; the last: unreadable"));
}

#[tokio::test]
async fn a_stopped_run_writes_no_more_and_goes_on_when_asked() {
    let stack = Stack::start().await;
    let jobs = jobs_on(&stack, Rows::new(300)).await;
    let run = jobs.request("rows", None).await.expect("asked for");
    let period = run.period.to_string();
    let work = tokio::spawn({
        let jobs = jobs.clone();
        async move { jobs.run_to_end(&run, &CancellationToken::new()).await }
    });
    eventually("rows are written", async || written(&stack.db).await.len() > 5).await;
    assert_eq!(jobs.stop_runs("rows").await.expect("stopped"), 1);
    let rows = written(&stack.db).await.len();
    let stopped = work.await.expect("ran").expect("ended");
    assert_eq!(stopped.status, Status::Stopped);
    assert_eq!(written(&stack.db).await.len(), rows, "nothing was written after the stop");

    let again = jobs.request("rows", Some(&period)).await.expect("asked for");
    let ended = jobs.run_to_end(&again, &CancellationToken::new()).await.expect("ended");
    assert_eq!(ended.status, Status::Done);
    let rows = written(&stack.db).await;
    assert_eq!(rows.iter().collect::<HashSet<_>>().len(), 600);
    assert_eq!(rows.len(), 600, "nothing twice");
}

#[tokio::test]
async fn a_backend_that_stops_gives_its_run_back_at_once() {
    let stack = Stack::start().await;
    let jobs = jobs_on(&stack, Rows::new(300)).await;
    let run = jobs.request("rows", None).await.expect("asked for");
    let running = jobs.start();
    eventually("rows are written", async || written(&stack.db).await.len() > 5).await;
    running.stop(std::time::Duration::from_secs(10)).await;
    let runs = jobs.history(Some("rows"), None, 1000).await.expect("read");
    let left = runs.iter().find(|found| found.id == run.id).expect("there");
    assert_eq!((left.status, left.retried, left.error.as_deref()), (Status::Waiting, 0, None), "{left:?}");
}
