//! A user, or the vendor's owner, who asks for one thing after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::api::{Ask, Connection, Service};

use super::record::{Act, Call, Outcome, Seen};
use super::world::World;

const DAY_MS: i64 = 24 * 3_600_000;

/// So many attempts are spent on a day before the next one is opened.
const ATTEMPTS_A_DAY: u64 = 1_500;

/// Further tries of a booking whose outcome isn't known, under its key.
const TRIES: usize = 4;

/// What all clients share.
pub(super) struct Shared {
    pub(super) world: World,
    pub(super) services: Vec<Service>,
    pub(super) began: Instant,
    /// Midnight after the day on which the history began.
    pub(super) first_day: i64,
    /// How many attempts there may be.
    pub(super) attempts: u64,
    pub(super) made: AtomicU64,
    /// Bookings that the vendor may decide on.
    pub(super) undecided: Mutex<Vec<String>>,
}

impl Shared {
    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Counts an attempt; none is left once all were made.
    fn next(&self) -> Option<u64> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        (number < self.attempts).then_some(number)
    }
}

pub(super) struct Client {
    shared: Arc<Shared>,
    user: usize,
    random: StdRng,
    connection: Option<(usize, Connection)>,
    token: Option<String>,
    /// Its bookings that it may still change, as far as it knows.
    own: Vec<(String, usize)>,
    calls: Vec<Call>,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, user: usize, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(user as u64));
        Self { shared, user, random, connection: None, token: None, own: Vec::new(), calls: Vec::new() }
    }

    /// Asks until all attempts were made; what it asked, and what came of it.
    pub(super) async fn run(mut self) -> Vec<Call> {
        while let Some(number) = self.shared.next() {
            if self.user == self.shared.world.owner() {
                self.decide().await;
                continue;
            }
            match self.random.random_range(0..100) {
                0..60 => self.book(number).await,
                60..80 => self.cancel().await,
                80..92 => self.reschedule(number).await,
                _ => self.wait(number).await,
            }
        }
        self.calls
    }

    /// Some slot of the days that are open now. Two of three are of one hot hour each day.
    fn slot(&mut self, number: u64, service: usize) -> i64 {
        let day = i64::try_from(number / ATTEMPTS_A_DAY).unwrap_or(0) + self.random.random_range(0..2);
        let step = self.shared.world.specs[service].step_ms;
        let steps = DAY_MS / step;
        let at = match self.random.random_range(0..3) {
            0 => self.random.random_range(0..steps),
            _ => self.random.random_range(steps / 2..steps / 2 + 4),
        };
        self.shared.first_day + day * DAY_MS + at * step
    }

    async fn book(&mut self, number: u64) {
        let service = self.random.random_range(0..self.shared.world.specs.len());
        let starts_at = self.slot(number, service);
        let party = self.random.random_range(1..=self.shared.world.specs[service].capacity.min(3));
        let note = format!("n{number}");
        let has_key = self.random.random_bool(0.5);
        let body = json!({
            "service_id": self.shared.world.service_ids[service],
            "starts_at": rfc_3339(starts_at),
            "party_size": party,
            "note": note,
        });
        let ask = Ask::post("/api/reservations", body);
        let ask = if has_key { ask.once(&note) } else { ask };
        for _ in 0..=TRIES {
            let act = Act::Book { note: note.clone(), service, starts_at, party };
            match self.call(act, &ask).await {
                Outcome::Ok(seen) => {
                    if seen.status == "pending" {
                        self.shared.undecided.lock().await.push(seen.id.clone());
                    }
                    self.own.push((seen.id, service));
                    return;
                }
                Outcome::Unknown if has_key => {}
                Outcome::Unknown | Outcome::Failed(..) => return,
            }
        }
    }

    async fn cancel(&mut self) {
        let Some((id, _)) = self.take_own() else { return };
        let ask = Ask::post(&format!("/api/reservations/{id}/cancel"), Value::Null);
        self.call(Act::Cancel { id }, &ask).await;
    }

    async fn reschedule(&mut self, number: u64) {
        let Some((id, service)) = self.take_own() else { return };
        let to = self.slot(number, service);
        let ask =
            Ask::post(&format!("/api/reservations/{id}/reschedule"), json!({"starts_at": rfc_3339(to)}));
        match self.call(Act::Move { id: id.clone(), to }, &ask).await {
            // Where it is now nobody knows: it is left alone.
            Outcome::Unknown => {}
            Outcome::Ok(seen) => {
                if seen.status == "pending" {
                    self.shared.undecided.lock().await.push(seen.id);
                }
                self.own.push((id, service));
            }
            Outcome::Failed(..) => self.own.push((id, service)),
        }
    }

    async fn wait(&mut self, number: u64) {
        let service = self.random.random_range(0..self.shared.world.specs.len());
        let starts_at = self.slot(number, service);
        let body = json!({
            "service_id": self.shared.world.service_ids[service],
            "starts_at": rfc_3339(starts_at),
        });
        self.call(Act::Wait { service, starts_at, party: 1 }, &Ask::post("/api/waitlist", body)).await;
    }

    /// The owner approves most and rejects some.
    async fn decide(&mut self) {
        let id = self.shared.undecided.lock().await.pop();
        let Some(id) = id else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return;
        };
        let (act, verb) = if self.random.random_bool(0.7) {
            (Act::Approve { id: id.clone() }, "approve")
        } else {
            (Act::Reject { id: id.clone() }, "reject")
        };
        self.call(act, &Ask::post(&format!("/api/reservations/{id}/{verb}"), Value::Null)).await;
    }

    fn take_own(&mut self) -> Option<(String, usize)> {
        let index = (0..self.own.len()).collect::<Vec<_>>().choose(&mut self.random).copied()?;
        Some(self.own.swap_remove(index))
    }

    /// Asks some backend, and notes what came of it.
    async fn call(&mut self, act: Act, ask: &Ask) -> Outcome {
        let Some(mut connection) = self.connect().await else {
            return Outcome::Failed(0, "no backend".to_owned());
        };
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.shared.world.token(self.user).expect("a token can be signed"),
        };
        let begun = self.shared.micros();
        let answer = connection.1.answer(&ask.clone().of(&token)).await;
        let ended = self.shared.micros();
        let outcome = match answer {
            Ok((status, body)) => {
                self.connection = Some(connection);
                outcome(status, &body)
            }
            Err(_) => Outcome::Unknown,
        };
        if outcome == Outcome::Unknown {
            // Whatever is broken is given a moment.
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        // What Redis has forgotten counts no more.
        self.token = if matches!(outcome, Outcome::Failed(401, _)) { None } else { Some(token) };
        self.calls.push(Call { user: self.user, act, begun, ended, outcome: outcome.clone() });
        outcome
    }

    /// A connection to one of the backends, now and then another; none if neither can be reached.
    async fn connect(&mut self) -> Option<(usize, Connection)> {
        if let Some(connection) = self.connection.take()
            && self.random.random_bool(0.9)
        {
            return Some(connection);
        }
        for _ in 0..200 {
            let number = self.random.random_range(0..self.shared.services.len());
            if let Ok(connection) = self.shared.services[number].connect().await {
                return Some((number, connection));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

fn outcome(status: StatusCode, body: &Value) -> Outcome {
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    if status.is_server_error() {
        return Outcome::Unknown;
    }
    if !status.is_success() {
        let name = text("type").trim_start_matches("/problems/").to_owned();
        return Outcome::Failed(status.as_u16(), name);
    }
    let starts_at = text("starts_at").parse::<Timestamp>().map_or(0, Timestamp::as_millisecond);
    Outcome::Ok(Seen { id: text("id"), status: text("status"), starts_at })
}

/// A moment as the service takes it.
pub(super) fn rfc_3339(millis: i64) -> String {
    Timestamp::from_millisecond(millis).expect("a near moment").to_string()
}
