//! What nginx asks about tokens, at the management address.

use access_token::{REVOCATIONS_CHANNEL, REVOCATIONS_KEY, Role};
use reqwest::StatusCode;

use crate::harness::{Stack, eventually};

/// The answer's status, and the problem that it names.
async fn ask(stack: &Stack, question: &str, tokens: &[&str]) -> (StatusCode, String) {
    let mut request = stack.http.get(stack.management_url(0, "/gateway/token"));
    request = request.header("x-gateway-question", question);
    for token in tokens {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = request.send().await.expect("answered");
    let problem = answer.headers().get("x-gateway-problem").map(|value| value.to_str().expect("text"));
    (answer.status(), problem.unwrap_or_default().to_owned())
}

fn refused(problem: &str) -> (StatusCode, String) {
    (StatusCode::FORBIDDEN, problem.to_owned())
}

#[tokio::test]
async fn a_gateway_learns_whether_a_token_will_do() {
    let stack = Stack::start().await;
    let (user, admin) = (stack.user("ada", Role::User).await, stack.user("bob", Role::Admin).await);
    let passed = (StatusCode::NO_CONTENT, String::new());
    assert_eq!(ask(&stack, "mode=required", &[&user.token]).await, passed);
    assert_eq!(ask(&stack, "mode=required", &[]).await, refused("token-missing"));
    assert_eq!(ask(&stack, "mode=optional", &[]).await, passed);
    assert_eq!(ask(&stack, "mode=optional", &["forged"]).await, refused("invalid-token"));
    assert_eq!(ask(&stack, "mode=required", &[&user.token, &user.token]).await, refused("bad-request"));
    assert_eq!(ask(&stack, "mode=required&admit=admin", &[&user.token]).await, refused("forbidden"));
    assert_eq!(ask(&stack, "mode=required&admit=admin", &[&admin.token]).await, passed);
    let sub = format!("mode=required&sub={}", user.id);
    assert_eq!(ask(&stack, &sub, &[&user.token]).await, passed);
    assert_eq!(ask(&stack, &sub, &[&admin.token]).await, refused("forbidden"));
}

#[tokio::test]
async fn what_is_no_question_is_our_own_fault_and_lets_nobody_pass() {
    let stack = Stack::start().await;
    let user = stack.user("ada", Role::User).await;
    for question in ["", "mode=none", "mode=required&admit=root"] {
        assert_eq!(ask(&stack, question, &[&user.token]).await.0, 500, "{question}");
    }
}

#[tokio::test]
async fn the_world_cannot_ask() {
    let stack = Stack::start().await;
    let question =
        stack.http.get(stack.url(0, "/gateway/token")).header("x-gateway-question", "mode=optional");
    assert_eq!(question.send().await.expect("answered").status(), 404);
}

#[tokio::test]
async fn a_revoked_token_will_not_do() {
    let mut stack = Stack::start().await;
    let (early, late) = (stack.user("ada", Role::User).await, stack.user("bob", Role::User).await);
    let revoke = |stack: &Stack, user: &str| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let ms = now.as_millis().to_string();
        let entry = format!("user:{user}:{ms}");
        stack.redis_cli(&["ZADD", REVOCATIONS_KEY, &ms, &entry]);
        stack.redis_cli(&["PUBLISH", REVOCATIONS_CHANNEL, &entry]);
    };
    revoke(&stack, &early.id);
    eventually("it is revoked", async || {
        ask(&stack, "mode=required", &[&early.token]).await == refused("invalid-token")
    })
    .await;
    assert_eq!(ask(&stack, "mode=required", &[&late.token]).await.0, 204);
    // What was revoked while nobody could hear is in the set.
    stack.stop_redis().await;
    stack.start_redis().await;
    revoke(&stack, &late.id);
    eventually("it is revoked, too", async || {
        ask(&stack, "mode=required", &[&late.token]).await == refused("invalid-token")
    })
    .await;
    assert_eq!(ask(&stack, "mode=required", &[&early.token]).await, refused("invalid-token"));
}
