//! The gate in front of the whole product.

use std::net::Ipv4Addr;

use reqwest::StatusCode;
use serde_json::Value;

use crate::client::{Person, address, browser};
use crate::stack::Stack;

#[tokio::test]
async fn admin_is_closed_to_other_addresses_and_other_roles() {
    let stack = Stack::start();
    let admin = Person::sign_in(&stack.file, "admin", Ipv4Addr::LOCALHOST).await;
    assert_eq!(admin.get("/api/me").await["role"], "admin");
    let page = |client: reqwest::Client| client.get(format!("{}/admin/", stack.file.https)).send();
    let inside = page(browser(&stack.file, Ipv4Addr::LOCALHOST)).await.expect("an answer");
    assert_eq!(inside.status(), StatusCode::OK);
    let outside = page(browser(&stack.file, address(1))).await.expect("an answer");
    assert_eq!(outside.status(), StatusCode::FORBIDDEN);

    let ask = async |person: &Person| {
        let (status, body) = person.send(reqwest::Method::GET, "/admin/api/overview", None).await;
        (status, body["type"].as_str().unwrap_or_default().to_owned())
    };
    let user_inside = Person::sign_in(&stack.file, "guards-user", Ipv4Addr::LOCALHOST).await;
    assert_eq!(ask(&user_inside).await, (StatusCode::FORBIDDEN, "/problems/forbidden".to_owned()));
    let admin_outside = Person::sign_in(&stack.file, "admin", address(2)).await;
    assert_eq!(
        ask(&admin_outside).await,
        (StatusCode::FORBIDDEN, "/problems/address-not-allowed".to_owned())
    );
}

#[tokio::test]
async fn the_eleventh_login_and_the_hundred_and_first_request_of_a_minute_are_refused() {
    let stack = Stack::start();
    let login = browser(&stack.file, address(1));
    let mut statuses = Vec::new();
    for _ in 0..11 {
        let request = login.post(format!("{}/api/auth/login", stack.file.https)).body("{}");
        statuses.push(request.send().await.expect("an answer").status());
    }
    assert!(statuses[..10].iter().all(|status| status.is_client_error()), "{statuses:?}");
    assert!(statuses[..10].iter().all(|status| *status != StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    assert_eq!(statuses[10], StatusCode::TOO_MANY_REQUESTS);

    let api = browser(&stack.file, address(2));
    let request =
        async || api.get(format!("{}/api/auth/providers", stack.file.https)).send().await.expect("an answer");
    let all = futures_util::future::join_all((0..120).map(|_| request())).await;
    let passed = all.iter().filter(|response| response.status() == StatusCode::OK).count();
    // One more is let through each 0.6 s that the 120 take.
    assert!((100..=110).contains(&passed), "{passed}");
    let refused = all
        .into_iter()
        .find(|response| response.status() == StatusCode::TOO_MANY_REQUESTS)
        .expect("a refusal");
    assert!(
        refused.headers().contains_key("retry-after") && refused.headers().contains_key("ratelimit-policy")
    );
    let problem: Value = refused.json().await.expect("a problem");
    assert_eq!(problem["type"], "/problems/rate-limited");
}
