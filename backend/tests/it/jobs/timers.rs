//! Timers go off once, in time or late.

use std::time::Instant;

use backend::clock::EpochMillis;
use backend::jobs::timers;
use backend::{read, write};
use futures_util::future::join_all;

use crate::harness::Stack;
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
    write!(&stack.db, |pool| sqlx::query(sql).execute(pool).await.expect("set"));
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
        write!(&stack.db, |pool| sqlx::query(sql).bind(waiting).execute(pool).await.expect("set"));
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
