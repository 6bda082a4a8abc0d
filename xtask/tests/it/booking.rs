//! One place, many who want it.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Person, address};
use crate::stack::Stack;

/// A free slot, and the request that books it.
pub(crate) struct Slot {
    pub(crate) request: Value,
    pub(crate) service: String,
    pub(crate) starts_at: String,
}

/// The first free slot of a service of this capacity.
pub(crate) async fn free_slot(person: &Person, vendor: &str, capacity: u64) -> Slot {
    let page = person.get(&format!("/api/vendors/{vendor}")).await;
    let services = page["services"].as_array().expect("services");
    let service = services.iter().find(|service| service["capacity"] == capacity).expect("such a service");
    let service = service["id"].as_str().expect("an id").to_owned();
    let slots = slots(person, vendor, &service).await;
    let free = slots.iter().find(|slot| slot["remaining"] == capacity).expect("a free slot");
    let starts_at = free["starts_at"].as_str().expect("a time").to_owned();
    Slot { request: json!({"service_id": service, "starts_at": starts_at}), service, starts_at }
}

/// What the vendor has free from tomorrow on.
pub(crate) async fn slots(person: &Person, vendor: &str, service: &str) -> Vec<Value> {
    let tomorrow = tomorrow();
    let path = format!("/api/vendors/{vendor}/availability?service_id={service}&from={tomorrow}&days=7");
    person.get(&path).await["slots"].as_array().expect("slots").clone()
}

/// Tomorrow's date, UTC.
fn tomorrow() -> String {
    let output =
        std::process::Command::new("date").args(["-u", "-d", "tomorrow", "+%F"]).output().expect("date runs");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[tokio::test]
async fn of_two_hundred_who_want_one_place_exactly_one_gets_it() {
    let stack = Stack::start();
    let people = join_all((1..=200).map(|n| {
        let file = &stack.file;
        async move { Person::sign_in(file, &format!("crowd-{n}"), address(n)).await }
    }))
    .await;
    let found = people[0].get("/api/vendors?limit=1").await;
    let vendor = found["items"][0]["id"].as_str().expect("a vendor").to_owned();
    let slot = free_slot(&people[0], &vendor, 1).await;
    let attempts = people.iter().map(|person| person.post("/api/reservations", slot.request.clone()));
    let answers = join_all(attempts).await;
    let count = |wanted: StatusCode| answers.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::CONFLICT)), (1, 199), "{answers:?}");
    for (_, body) in answers.iter().filter(|(status, _)| *status == StatusCode::CONFLICT) {
        assert!(
            matches!(body["type"].as_str(), Some("/problems/slot-taken" | "/problems/slot-busy")),
            "{body}"
        );
    }
    let left = slots(&people[0], &vendor, &slot.service).await;
    let same = left.iter().find(|other| other["starts_at"] == slot.starts_at.as_str());
    assert!(same.is_none_or(|slot| slot["remaining"] == 0), "{same:?}");
    let winner = answers.iter().position(|(status, _)| *status == StatusCode::CREATED).expect("a winner");
    let (_, list) = people[winner].send(Method::GET, "/api/reservations", None).await;
    assert_eq!(list["items"].as_array().expect("a list").len(), 1);
}
