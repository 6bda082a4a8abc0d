//! Two people sign in, browse, book, and talk.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::booking::free_slot;
use crate::client::{Person, address, browser};
use crate::stack::Stack;

#[tokio::test]
async fn two_people_sign_in_browse_book_and_chat() {
    walk(&Stack::start(), "walk").await;
}

/// A booking and a chat, by people of these names who haven't met before.
pub(crate) async fn walk(stack: &Stack, names: &str) {
    let customer = Person::sign_in(&stack.file, &format!("{names}-customer"), address(1)).await;
    let rival = Person::sign_in(&stack.file, &format!("{names}-rival"), address(2)).await;
    // Of the demo data: the first vendor's owner.
    let owner = Person::sign_in(&stack.file, "owner-001", address(3)).await;
    assert_eq!(customer.get("/api/me").await["role"], "user");
    assert_eq!(owner.get("/api/me").await["role"], "vendor");

    let found = customer.get("/api/vendors?q=머리숲").await;
    let vendor = found["items"][0]["id"].as_str().expect("a vendor").to_owned();
    let slot = free_slot(&customer, &vendor, 1).await;
    let (status, booked) = customer.post("/api/reservations", slot.request.clone()).await;
    assert_eq!((status, &booked["status"]), (StatusCode::CREATED, &json!("confirmed")), "{booked}");
    let (status, refused) = rival.post("/api/reservations", slot.request.clone()).await;
    assert_eq!(
        (status, &refused["type"]),
        (StatusCode::CONFLICT, &json!("/problems/slot-taken")),
        "{refused}"
    );
    let id = booked["id"].as_str().expect("an id");
    assert_eq!(customer.get(&format!("/api/reservations/{id}")).await["starts_at"], booked["starts_at"]);
    let (status, _) = rival.send(Method::GET, &format!("/api/reservations/{id}"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let (status, room) = customer.post("/api/chat/rooms", json!({"vendor_id": vendor})).await;
    assert_eq!(status, StatusCode::CREATED, "{room}");
    let (status, again) = customer.post("/api/chat/rooms", json!({"vendor_id": vendor})).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &room["id"]));
    talk(stack, &customer, &owner, &room["id"]).await;
    let history = rival
        .send(Method::GET, &format!("/api/chat/rooms/{}/messages", room["id"].as_str().expect("an id")), None)
        .await;
    assert_eq!(history.0, StatusCode::NOT_FOUND);
}

/// One on 8080, one on 8081; then both through the edge.
async fn talk(stack: &Stack, customer: &Person, owner: &Person, room: &serde_json::Value) {
    let mut asking = customer.chat_at(&stack.file.backends[0].api).await;
    let mut answering = owner.chat_at(&stack.file.backends[1].api).await;
    asking.send(json!({"type": "send", "room": room, "client_id": "1", "body": "안녕하세요"})).await;
    assert_eq!(asking.next("ack").await["seq"], 1);
    let heard = answering.next("message").await;
    assert_eq!(
        (&heard["body"], &heard["seq"], &heard["client_id"]),
        (&json!("안녕하세요"), &json!(1), &json!("1"))
    );
    answering.send(json!({"type": "send", "room": room, "client_id": "1", "body": "네, 어서 오세요"})).await;
    assert_eq!(answering.next("ack").await["seq"], 2);

    let mut through_the_edge = customer.chat().await;
    through_the_edge.send(json!({"type": "sync", "room": room, "after_seq": 0})).await;
    assert_eq!(through_the_edge.next("message").await["body"], "안녕하세요");
    assert_eq!(through_the_edge.next("message").await["body"], "네, 어서 오세요");
    assert_eq!(through_the_edge.next("synced").await["up_to_seq"], 2);
    through_the_edge
        .send(json!({"type": "send", "room": room, "client_id": "2", "body": "두 시에 갈게요"}))
        .await;
    assert_eq!(answering.next("message").await["seq"], 2);
    assert_eq!(answering.next("message").await["body"], "두 시에 갈게요");
}

#[tokio::test]
async fn a_session_is_refreshed_and_ended() {
    let stack = Stack::start();
    let person = Person::sign_in(&stack.file, "walk-session", address(1)).await;
    let http = browser(&stack.file, address(1));
    let post = async |path: &str, token: &str| {
        let request = http.post(format!("{}{path}", stack.file.https)).json(&json!({"refresh_token": token}));
        let response = request.send().await.expect("an answer");
        (response.status(), response.json::<serde_json::Value>().await.unwrap_or_default())
    };
    let (status, tokens) = post("/api/auth/refresh", &person.refresh_token).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let next = tokens["refresh_token"].as_str().expect("a token");
    assert_eq!(post("/api/auth/logout", next).await.0, StatusCode::NO_CONTENT);
    assert_eq!(post("/api/auth/refresh", next).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_start_page_and_its_parts_are_served() {
    let stack = Stack::start();
    let http = browser(&stack.file, address(1));
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")] {
        let response = http.get(format!("{}{path}", stack.file.https)).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(response.headers()["content-type"].to_str().expect("text").starts_with(kind), "{path}");
    }
    let plain = http.get(format!("{}/x", stack.file.http)).send().await.expect("an answer");
    assert_eq!(plain.status(), StatusCode::PERMANENT_REDIRECT);
}

#[tokio::test]
async fn a_browser_signs_in_at_either_provider() {
    let stack = Stack::start();
    let http = browser(&stack.file, address(1));
    for (provider, person) in [("google", "ada"), ("kakao", "1000000001")] {
        let login = format!("{}/api/auth/login/{provider}?return_to=/done", stack.file.https);
        let away = http.get(login).send().await.expect("an answer");
        let cookie = cookie_of(&away);
        let consent = format!("{}&login_hint={person}", location_of(&away));
        let back = http.get(consent).send().await.expect("an answer");
        let arrived = http.get(location_of(&back)).header("cookie", cookie).send().await.expect("an answer");
        assert_eq!(
            (arrived.status(), location_of(&arrived)),
            (StatusCode::FOUND, "/done".to_owned()),
            "{provider}"
        );
        let refresh = http.post(format!("{}/api/auth/refresh", stack.file.https)).json(&json!({}));
        let refresh = refresh.header("cookie", cookie_of(&arrived)).header("origin", &stack.file.https);
        assert_eq!(refresh.send().await.expect("an answer").status(), StatusCode::OK);
    }
}

fn location_of(response: &reqwest::Response) -> String {
    response.headers()["location"].to_str().expect("text").to_owned()
}

/// The one that is set, not the one that is taken away.
fn cookie_of(response: &reqwest::Response) -> String {
    let all = response.headers().get_all("set-cookie").iter().map(|value| value.to_str().expect("text"));
    let set = all.into_iter().find(|text| !text.contains("Max-Age=0")).expect("a cookie");
    set.split(';').next().expect("its beginning").to_owned()
}
