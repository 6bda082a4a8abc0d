//! Bookings in calendars.

use access_token::Role;
use reqwest::Method;

use super::text;
use crate::fixtures::{later, noon};
use crate::harness::{Stack, TestUser, send};

/// The calendar at this path, and its media type.
async fn calendar(stack: &Stack, user: Option<&TestUser>, path: &str) -> (u16, String, String) {
    let mut request = stack.request(Method::GET, path);
    if let Some(user) = user {
        request = request.bearer_auth(&user.token);
    }
    let response = request.send().await.expect("an answer");
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    (response.status().as_u16(), kind, response.text().await.expect("a body"))
}

#[tokio::test]
async fn a_booking_can_be_put_into_a_calendar() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("머리숲", "미용실").await;
    let service = stack.service(&vendor, 1).await;
    let user = stack.user("user", Role::User).await;
    let booking = stack.booked(&user, &service, noon()).await;
    let path = format!("/api/reservations/{}/calendar.ics", text(&booking, "id"));
    let (status, kind, body) = calendar(&stack, Some(&user), &path).await;
    assert_eq!((status, kind.as_str()), (200, "text/calendar; charset=utf-8"));
    assert!(body.contains("SUMMARY:머리숲 · service\r\n"), "{body}");
    let stranger = stack.user("stranger", Role::User).await;
    stack.get_as(&stranger, &path).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_feed_shows_its_users_bookings_to_whoever_knows_the_secret() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("머리숲", "미용실").await;
    let service = stack.service(&vendor, 1).await;
    let (user, other) = (stack.user("user", Role::User).await, stack.user("other", Role::User).await);
    let own = stack.booked(&user, &service, noon()).await;
    let foreign = stack.booked(&other, &service, later(noon(), 1)).await;
    let renew = || send(stack.request(Method::POST, "/api/calendar-feed").bearer_auth(&user.token));
    let path = text(&renew().await.expect(201), "path").to_owned();

    let (status, _, body) = calendar(&stack, None, &path).await;
    assert_eq!(status, 200);
    assert!(body.contains(text(&own, "id")) && !body.contains(text(&foreign, "id")), "{body}");
    stack.act(&user, &own, "cancel").await.expect(200);
    let (_, _, body) = calendar(&stack, None, &path).await;
    assert!(body.contains("STATUS:CANCELLED"), "a calendar that has it must learn of it: {body}");

    let renewed = text(&renew().await.expect(201), "path").to_owned();
    assert_eq!(calendar(&stack, None, &path).await.0, 404, "the old secret has ended");
    assert_eq!(calendar(&stack, None, &renewed).await.0, 200);
    send(stack.request(Method::DELETE, "/api/calendar-feed").bearer_auth(&user.token)).await.expect(204);
    assert_eq!(calendar(&stack, None, &renewed).await.0, 404);
    assert_eq!(calendar(&stack, None, renewed.trim_end_matches(".ics")).await.0, 404);
}
