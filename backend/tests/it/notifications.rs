//! What users are told, what they have read of it, and how it is forgotten.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use access_token::Role;
use backend::config::Config;
use backend::notifications::service::{Notifications, NotifyError};
use backend::redis::Redis;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Stack, TestUser, eventually, send};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Arguments: how many each, moment of the first, users. One a millisecond, as the store writes them.
const WRITE: &str = "local first = tonumber(ARGV[2])
for n = 3, #ARGV do
    local key = 'notifications:user:' .. ARGV[n]
    for at = first, first + ARGV[1] - 1 do
        local id = string.format('%08x-%04x', math.floor(at / 65536), at % 65536) .. '-774b-bcce-b302099a8057'
        redis.call('ZADD', key, at, id .. ' {\"kind\":\"old\",\"data\":null}')
    end
    redis.call('ZADD', 'notifications:by-oldest', redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2], ARGV[n])
end";

fn notifications(stack: &Stack) -> Notifications {
    let config = Config::load(&stack.folder().join("config/backend.toml")).expect("a valid configuration");
    Notifications::new(Redis::new(&config.redis).expect("an address"))
}

/// Puts notifications of `days` ago into Redis, `count` of each user.
fn write_old(stack: &Stack, users: &[&str], count: i64, days: i64) {
    let first = jiff::Timestamp::now().as_millisecond() - days * DAY_MS;
    let (count, first) = (count.to_string(), first.to_string());
    let arguments = ["EVAL", WRITE, "0", &count, &first];
    stack.redis_cli(&[&arguments, users].concat());
}

async fn list(stack: &Stack, user: &TestUser, query: &str) -> Value {
    stack.get_as(user, &format!("/api/notifications{query}")).await.expect(200)
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list").iter();
    items.map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

async fn trim(stack: &Stack) -> Value {
    let admin = stack.user("관리자", Role::Admin).await;
    let path = "/admin/api/batch/jobs/trim-notifications/run";
    let run = send(stack.request(Method::POST, path).bearer_auth(&admin.token)).await.expect(202);
    let mut found = Value::Null;
    eventually("the job is done", async || {
        let runs = stack.get_as(&admin, "/admin/api/batch/runs?job=trim-notifications").await.expect(200);
        found = runs["items"][0].clone();
        found["id"] == run["id"] && found["status"] == "done"
    })
    .await;
    found
}

async fn quick() -> Stack {
    Stack::with_config(1, |config| config["jobs"]["poll_ms"] = 20.into()).await
}

#[tokio::test]
async fn a_user_sees_what_they_were_told_newest_first_and_reads_up_to_one() {
    let stack = Stack::start().await;
    let (guest, other) = (stack.user("guest", Role::User).await, stack.sign_in("other").await.user);
    let told = notifications(&stack);
    let mut sent = Vec::new();
    for number in 0..5 {
        sent.push(told.notify(&guest.id, "greeting", json!({"number": number})).await.expect("told"));
    }
    sent.reverse();

    let page = list(&stack, &guest, "?limit=3").await;
    assert_eq!((&page["unread"], ids(&page)), (&json!(5), sent[..3].to_vec()));
    let newest = &page["items"][0];
    assert_eq!(
        (&newest["kind"], &newest["data"], &newest["read"]),
        (&json!("greeting"), &json!({"number": 4}), &json!(false))
    );
    let cursor = page["next_cursor"].as_str().expect("there are more");
    let rest = list(&stack, &guest, &format!("?limit=3&cursor={cursor}")).await;
    assert_eq!((ids(&rest), &rest["next_cursor"]), (sent[3..].to_vec(), &Value::Null));

    let read = json!({"up_to": sent[2]});
    let answer = stack.post_as(&guest, "/api/notifications/read", read).await.expect(200);
    assert_eq!(answer, json!({"unread": 2}));
    let page = list(&stack, &guest, "").await;
    let read: Vec<_> = page["items"].as_array().expect("a list").iter().map(|item| &item["read"]).collect();
    assert_eq!(
        (&page["unread"], read),
        (&json!(2), vec![&json!(false), &json!(false), &json!(true), &json!(true), &json!(true)])
    );
    // Going back makes nothing unread again.
    let back = stack.post_as(&guest, "/api/notifications/read", json!({"up_to": sent[4]})).await.expect(200);
    assert_eq!(back, json!({"unread": 2}));
    assert_eq!(list(&stack, &other, "").await, json!({"items": [], "next_cursor": null, "unread": 0}));
}

#[tokio::test]
async fn what_is_no_notification_is_a_problem() {
    let stack = Stack::start().await;
    let guest = stack.user("guest", Role::User).await;
    stack.get("/api/notifications").await.expect_problem(401, "token-missing");
    stack.post("/api/notifications/read", json!({})).await.expect_problem(401, "token-missing");
    for body in [json!({}), json!({"up_to": 7}), json!({"up_to": "f47ac10b-58cc-4372-a567-0e02b2c3d479"})] {
        stack.post_as(&guest, "/api/notifications/read", body).await.expect_problem(422, "invalid-body");
    }
    stack.get_as(&guest, "/api/notifications?cursor=x").await.expect_problem(422, "invalid-cursor");
    stack.get_as(&guest, "/api/notifications?limit=101").await.expect_problem(422, "invalid-limit");
    let long = notifications(&stack).notify(&guest.id, "long", json!("x".repeat(1024))).await;
    assert!(matches!(long, Err(NotifyError::TooLong)));
}

#[tokio::test]
async fn reading_ahead_hides_nothing_that_comes_later() {
    let stack = Stack::start().await;
    let guest = stack.user("guest", Role::User).await;
    let told = notifications(&stack);
    let read = async |up_to: &str| {
        let answer = stack.post_as(&guest, "/api/notifications/read", json!({"up_to": up_to})).await;
        answer.expect(200)["unread"].clone()
    };
    let far_ahead = "ffffffff-ffff-774b-bcce-b302099a8057";
    assert_eq!(read(far_ahead).await, 0, "there is none");
    told.notify(&guest.id, "first", json!({})).await.expect("told");
    assert_eq!(list(&stack, &guest, "").await["unread"], 1);
    assert_eq!(read(far_ahead).await, 0);
    told.notify(&guest.id, "second", json!({})).await.expect("told");
    assert_eq!(list(&stack, &guest, "").await["unread"], 1);
    // The clock of Redis was ahead, and goes back.
    let tomorrow = (jiff::Timestamp::now().as_millisecond() + DAY_MS).to_string();
    stack.redis_cli(&["SET", &format!("notifications:read:{}", guest.id), &tomorrow]);
    let third = told.notify(&guest.id, "third", json!({})).await.expect("told");
    let page = list(&stack, &guest, "").await;
    assert_eq!((&page["unread"], &ids(&page)[0]), (&json!(1), &third));
}

#[tokio::test]
async fn a_user_keeps_the_newest_five_hundred_and_nothing_old() {
    let stack = Stack::start().await;
    let guest = stack.user("guest", Role::User).await;
    write_old(&stack, &[&guest.id], 600, 1);
    let newest = notifications(&stack).notify(&guest.id, "newest", json!({})).await.expect("told");
    let page = list(&stack, &guest, "").await;
    assert_eq!((&page["unread"], &ids(&page)[0]), (&json!(500), &newest));
    let key = format!("notifications:user:{}", guest.id);
    let oldest =
        || stack.redis_cli(&["ZRANGE", &key, "0", "0", "WITHSCORES"]).lines().last().map(str::to_owned);
    let index = || stack.redis_cli(&["ZSCORE", "notifications:by-oldest", &guest.id]);
    assert_eq!(oldest(), Some(index()));

    stack.redis_cli(&["DEL", &key]);
    write_old(&stack, &[&guest.id], 10, 31);
    notifications(&stack).notify(&guest.id, "newest", json!({})).await.expect("told");
    assert_eq!(stack.redis_cli(&["ZCARD", &key]), "1");
    assert_eq!(oldest(), Some(index()));
}

#[tokio::test]
async fn what_is_older_than_thirty_days_is_shown_no_more_and_then_trimmed() {
    let stack = quick().await;
    let guest = stack.user("guest", Role::User).await;
    write_old(&stack, &[&guest.id], 3, 31);
    write_old(&stack, &[&guest.id], 2, 29);
    write_old(&stack, &["with old ones alone"], 4, 40);
    stack.redis_cli(&["SET", "notifications:read:with old ones alone", "1"]);
    write_old(&stack, &["with new ones alone"], 5, 1);
    let page = list(&stack, &guest, "").await;
    assert_eq!((&page["unread"], ids(&page).len()), (&json!(2), 2), "before the job came");

    let run = trim(&stack).await;
    assert_eq!((&run["read"], &run["written"]), (&json!(2), &json!(7)), "{run}");
    let left = |user: &str| stack.redis_cli(&["ZCARD", &format!("notifications:user:{user}")]);
    assert_eq!((left(&guest.id).as_str(), left("with new ones alone").as_str()), ("2", "5"));
    assert_eq!(stack.redis_cli(&["KEYS", "notifications:*:with old ones alone"]), "");
    assert_eq!(stack.redis_cli(&["ZCARD", "notifications:by-oldest"]), "2");
    let again = trim(&stack).await;
    assert_eq!((&again["read"], &again["written"]), (&json!(0), &json!(0)), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimming_loses_nothing_that_is_written_meanwhile() {
    let stack = quick().await;
    let users: Vec<_> = (0..1000).map(|number| format!("user-{number:04}")).collect();
    write_old(&stack, &users.iter().map(String::as_str).collect::<Vec<_>>(), 20, 31);
    let told = notifications(&stack);
    let is_trimmed = AtomicBool::new(false);
    let writing = async {
        let mut sent = HashSet::new();
        // Nobody writes to the first half: those are the job's alone.
        for user in users[500..].iter().cycle().take(40_000) {
            if sent.len() >= 500 && is_trimmed.load(Ordering::Acquire) {
                break;
            }
            sent.insert((user.clone(), told.notify(user, "new", json!({})).await.expect("told")));
        }
        sent
    };
    let trimming = async {
        let run = trim(&stack).await;
        is_trimmed.store(true, Ordering::Release);
        run
    };
    let (run, sent) = tokio::join!(trimming, writing);
    assert!(run["read"].as_i64() >= Some(500), "{run}");
    let mut left = HashSet::new();
    for user in &users {
        let inbox = told.inbox(user, None, 100).await.expect("read");
        left.extend(inbox.items.iter().map(|item| (user.clone(), item.id.to_string())));
    }
    assert_eq!(left, sent);
    let count = "local all = 0
        for _, key in ipairs(redis.call('KEYS', 'notifications:user:*')) do all = all + redis.call('ZCARD', key) end
        return all";
    assert_eq!(stack.redis_cli(&["EVAL", count, "0"]), sent.len().to_string(), "nothing old is left");
}

#[tokio::test]
async fn without_redis_notifications_are_unavailable_for_a_moment() {
    let mut stack = Stack::start().await;
    let guest = stack.user("guest", Role::User).await;
    stack.stop_redis().await;
    stack.get_as(&guest, "/api/notifications").await.expect_problem(503, "unavailable");
}
