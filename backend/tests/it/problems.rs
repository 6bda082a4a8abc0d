//! What every route does with requests that aren't right.

use crate::harness::{Stack, send};

#[tokio::test]
async fn an_unknown_path_is_a_problem_under_the_gateways_request_id() {
    let stack = Stack::start().await;
    let answer =
        send(stack.http.get(stack.url(0, "/nothing")).header("x-request-id", "from-the-gateway")).await;
    answer.expect_problem(404, "not-found");
    assert_eq!(answer.headers["x-request-id"], "from-the-gateway");
    assert_ne!(stack.get("/nothing").await.headers["x-request-id"], "");
}
