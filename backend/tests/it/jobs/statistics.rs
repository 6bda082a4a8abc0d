//! What a day is counted from.

use std::process::Command;

use access_token::Role;
use backend::{read, write};
use serde_json::json;

use crate::fixtures::noon;
use crate::harness::Stack;

/// A day's row: reservations, cancellations, messages, sign-ins.
type Day = (i64, i64, i64, i64);

async fn day(stack: &Stack, day: &str, vendor_id: &str) -> Option<Day> {
    let sql = "SELECT reservations, cancellations, messages, sign_ins FROM daily_statistics
        WHERE day = $1 AND vendor_id = $2";
    read!(&stack.db, |pool| sqlx::query_as(sql).bind(day).bind(vendor_id).fetch_optional(pool).await)
        .expect("read")
}

/// Runs the job for a day, in a process of its own.
async fn count(stack: &Stack, day: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backend"));
    command.args(["jobs", "run", "daily-statistics", "--period", day, "--config"]);
    command.arg(stack.folder().join("config/backend.toml"));
    let output = tokio::task::spawn_blocking(move || command.output().expect("started")).await.expect("run");
    assert!(output.status.success(), "{output:?}");
}

async fn execute(stack: &Stack, sql: &'static str) {
    write!(&stack.db, |pool| sqlx::query(sql).execute(pool).await.map(drop)).expect("done");
}

#[tokio::test]
async fn a_day_is_counted_for_each_vendor_and_on_the_whole() {
    let stack = Stack::start().await;
    let user = stack.sign_in("guest").await.user;
    let (one, two) = (stack.open_vendor("one", "hair").await, stack.open_vendor("two", "hair").await);
    for (vendor, bookings) in [(&one, 3), (&two, 1)] {
        let service = stack.service(vendor, 10).await;
        for _ in 0..bookings {
            let body = json!({"service_id": service, "starts_at": noon()});
            stack.post_as(&user, "/api/reservations", body).await.expect(201);
        }
        stack.post_as(&user, "/api/chat/rooms", json!({"vendor_id": vendor.id})).await.expect(201);
    }
    // All of it happened two days ago, and one booking was cancelled then; the first vendor's room had two messages.
    execute(
        &stack,
        "UPDATE reservations SET status = 'cancelled'
        WHERE id = (SELECT id FROM reservations ORDER BY id LIMIT 1)",
    )
    .await;
    execute(
        &stack,
        "INSERT INTO messages (room_id, seq, sender, client_id, body, sent_at)
        SELECT r.id, n.i, r.user_id, CAST(n.i AS TEXT), 'body', (SELECT max(signed_in_at) FROM sign_ins)
        FROM rooms r JOIN vendors v ON v.id = r.vendor_id, (SELECT 1 AS i UNION SELECT 2) AS n
        WHERE v.name = 'one'",
    )
    .await;
    for sql in [
        "UPDATE reservations SET created_at = created_at - 172800000, cancelled_at = cancelled_at - 172800000",
        "UPDATE messages SET sent_at = sent_at - 172800000",
        "UPDATE sign_ins SET signed_in_at = signed_in_at - 172800000",
    ] {
        execute(&stack, sql).await;
    }
    let sql = "SELECT signed_in_at FROM sign_ins";
    let at: i64 = read!(&stack.db, |pool| sqlx::query_scalar(sql).fetch_one(pool).await).expect("counted");
    let zone = jiff::tz::TimeZone::get("Asia/Seoul").expect("a zone");
    let date = jiff::Timestamp::from_millisecond(at).expect("a moment").to_zoned(zone).date();
    let date = date.to_string();
    count(&stack, &date).await;
    assert_eq!(day(&stack, &date, "").await, Some((4, 1, 2, 1)));
    assert_eq!(day(&stack, &date, &one.id).await, Some((3, 1, 2, 0)));
    assert_eq!(day(&stack, &date, &two.id).await, Some((1, 0, 0, 0)));
}

#[tokio::test]
async fn the_days_edges_belong_to_one_day_each_and_an_empty_day_says_so() {
    let stack = Stack::start().await;
    let user = stack.user("guest", Role::User).await;
    // Midnight in Seoul, the millisecond before it, the last one of the day; and one so old that it is forgotten.
    let midnight = 1_761_922_800_000_i64;
    for at in [midnight, midnight - 1, midnight + 86_399_999, midnight - 40 * 86_400_000] {
        let sql = "INSERT INTO sign_ins VALUES ($1, $2, $3)";
        write!(&stack.db, |pool| {
            let insert = sqlx::query(sql).bind(at.to_string()).bind(&user.id).bind(at);
            insert.execute(pool).await.map(drop).expect("inserted")
        });
    }
    for (date, expected) in [("2025-11-01", 2), ("2025-11-02", 0)] {
        count(&stack, date).await;
        assert_eq!(day(&stack, date, "").await, Some((0, 0, 0, expected)), "{date}");
    }
    let sql = "SELECT count(*) FROM sign_ins";
    let left: i64 = read!(&stack.db, |pool| sqlx::query_scalar(sql).fetch_one(pool).await).expect("counted");
    assert_eq!(left, 3);
}
