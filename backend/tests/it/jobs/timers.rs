//! Timers go off once, in time or late.

use std::time::Instant;

use backend::clock::EpochMillis;
use backend::jobs::timers;
use backend::{read, write};
use futures_util::future::join_all;

use crate::harness::{Stack, eventually};
use crate::jobs::rows::{Rows, jobs_on, written};
use crate::jobs::tell;

async fn set(stack: &Stack, subject: &str, due_at: i64, payload: &str) {
    let mut transaction = stack.db.begin().await.expect("begun");
    timers::set(&mut transaction, "bell", subject, EpochMillis(due_at), payload).await.expect("set");
    transaction.commit().await.expect("committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_came_due_in_an_outage_go_off_once_each() {
    let stack = Stack::start().await;
    let backends = [
        jobs_on(&stack, Rows::new(1)).await,
        jobs_on(&stack, Rows::new(1)).await,
        jobs_on(&stack, Rows::new(1)).await,
    ];
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
        INSERT INTO timers SELECT 'id' || i, 'bell', 'subject' || i, i, 'ding', 0, NULL FROM n";
    write!(&stack.db, |pool| sqlx::query(sql).execute(pool).await.map(drop)).expect("set");
    let fired = join_all(backends.iter().map(|jobs| {
        let jobs = jobs.clone();
        tokio::spawn(async move { jobs.fire_timers(EpochMillis(900)).await })
    }));
    for outcome in fired.await {
        outcome.expect("ran").expect("fired");
    }
    let mut expected: Vec<_> = (1..=900).map(|i| format!("subject{i} ding")).collect();
    expected.sort();
    assert_eq!(written(&stack.db).await, expected);
}

/// `DAEMUN_JOBS_DUE=100000` for the full proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_write_while_the_timers_of_an_outage_go_off() {
    let count: i64 = std::env::var("DAEMUN_JOBS_DUE").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000);
    let stack = Stack::start().await;
    let jobs = jobs_on(&stack, Rows::new(1)).await;
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
        INSERT INTO timers SELECT 'id' || i, 'bell', 'subject' || i, i, 'ding', 0, NULL FROM n";
    write!(&stack.db, |pool| sqlx::query(sql).bind(count).execute(pool).await.map(drop)).expect("set");
    let start = Instant::now();
    let firing = tokio::spawn(async move { jobs.fire_timers(EpochMillis(count)).await });
    let mut waits = Vec::new();
    while !firing.is_finished() {
        let start = Instant::now();
        set(&stack, "another's", i64::MAX, "").await;
        waits.push(start.elapsed());
    }
    firing.await.expect("ran").expect("fired");
    let took = start.elapsed();
    assert_eq!(written(&stack.db).await.len(), usize::try_from(count).expect("positive"));
    waits.sort();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    tell(&format!(
        "{count} timers went off in {took:?}; {} writes meanwhile took p50 {:?}, p99 {:?}, max {:?}",
        waits.len(),
        at(50),
        at(99),
        at(100)
    ));
    // Each batch of a hundred leaves room for at least one.
    assert!(waits.len() as i64 >= count / 100, "others wrote {} times only", waits.len());
}

#[tokio::test]
async fn a_timer_can_be_moved_and_taken_back() {
    let stack = Stack::start().await;
    let jobs = jobs_on(&stack, Rows::new(1)).await;
    set(&stack, "moved", 10, "first").await;
    set(&stack, "moved", 30, "second").await;
    set(&stack, "taken back", 10, "never").await;
    let mut transaction = stack.db.begin().await.expect("begun");
    assert!(timers::cancel(&mut transaction, "bell", "taken back").await.expect("cancelled"));
    transaction.commit().await.expect("committed");
    jobs.fire_timers(EpochMillis(20)).await.expect("fired");
    assert!(written(&stack.db).await.is_empty());
    jobs.fire_timers(EpochMillis(30)).await.expect("fired");
    assert_eq!(written(&stack.db).await, ["moved second"]);
}

#[tokio::test]
async fn a_timer_whose_work_fails_holds_up_no_other_and_ends_with_its_error() {
    let stack = Stack::start().await;
    let jobs = jobs_on(&stack, Rows::new(1)).await;
    set(&stack, "one", 1, "broken").await;
    set(&stack, "two", 2, "ding").await;
    for hour in 0..10 {
        jobs.fire_timers(EpochMillis(10 + hour * 3_600_000)).await.expect("fired");
    }
    assert_eq!(written(&stack.db).await, ["two ding"], "what failed was rolled back");
    let sql = "SELECT failures, error, due_at FROM timers WHERE subject = 'one'";
    let left: (i64, String, Option<i64>) =
        read!(&stack.db, |pool| sqlx::query_as(sql).fetch_one(pool).await).expect("there");
    assert_eq!(left, (5, "no clapper".to_owned(), None));
}

#[tokio::test]
async fn a_timer_whose_work_panics_or_hangs_fails_like_any_other() {
    let stack = Stack::start().await;
    let jobs = jobs_on(&stack, Rows::new(1)).await;
    for (subject, payload) in [("one", "panics"), ("two", "hangs"), ("three", "ding")] {
        set(&stack, subject, 1, payload).await;
    }
    jobs.fire_timers(EpochMillis(10)).await.expect("fired");
    assert_eq!(written(&stack.db).await, ["three ding"]);
    let sql = "SELECT error FROM timers ORDER BY subject";
    let errors: Vec<String> =
        read!(&stack.db, |pool| sqlx::query_scalar(sql).fetch_all(pool).await).expect("read");
    assert_eq!(errors, ["it panicked", "a chunk took longer than 2s"]);
}

#[tokio::test]
async fn backends_that_run_let_a_timer_go_off_once_when_it_is_due() {
    let stack = Stack::start().await;
    let (one, two) = (jobs_on(&stack, Rows::new(1)).await, jobs_on(&stack, Rows::new(1)).await);
    let running = [one.start(), two.start()];
    let due_at = EpochMillis::now().0 + 200;
    set(&stack, "soon", due_at, "ding").await;
    set(&stack, "later", due_at + 3_600_000, "ding").await;
    let rung = async || written(&stack.db).await.into_iter().filter(|row| row.ends_with("ding")).count();
    eventually("it went off", async || rung().await == 1).await;
    assert!(EpochMillis::now().0 >= due_at);
    for running in running {
        running.stop(std::time::Duration::from_secs(10)).await;
    }
    assert_eq!(rung().await, 1);
}

/// `DAEMUN_JOBS_TIMERS=1000000` for the full proof.
#[tokio::test]
async fn timers_that_wait_cost_nothing_noticeable() {
    let count: i64 = std::env::var("DAEMUN_JOBS_TIMERS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let stack = Stack::start().await;
    let jobs = jobs_on(&stack, Rows::new(1)).await;
    let mut medians = Vec::new();
    for waiting in [0, count] {
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
            INSERT INTO timers SELECT 'id' || i, 'bell', 'subject' || i, 1000000 + i, '', 0, NULL FROM n
            WHERE $1 > 0";
        write!(&stack.db, |pool| sqlx::query(sql).bind(waiting).execute(pool).await.map(drop)).expect("set");
        let mut passes = Vec::new();
        for _ in 0..200 {
            let start = Instant::now();
            jobs.fire_timers(EpochMillis(1000)).await.expect("looked");
            passes.push(start.elapsed());
        }
        passes.sort();
        medians.push(passes[100]);
    }
    tell(&format!("a look at the timers: {:?} with none waiting, {:?} with {count}", medians[0], medians[1]));
    assert!(medians[1].as_micros() < medians[0].as_micros() * 10 + 5000, "{medians:?}");
}
