//! Redis is killed and started again in the middle of sign-ins, refreshes and sign-outs: nobody who was told of success is
//! signed out, and nobody who was signed out comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Answer, Stack, eventually, send};

/// Clients at once.
const CLIENTS: usize = 20;

/// Sign-ins, refreshes and sign-outs that were answered with success, in all.
fn operations() -> usize {
    std::env::var("DAEMUN_OUTAGE_OPERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// A session, as its client knows it.
struct Session {
    refresh_token: String,
    access_token: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    In,
    /// A sign-out was asked for, and nobody answered.
    Unknown,
    Out,
}

/// What all clients share.
struct Clients {
    http: reqwest::Client,
    backends: [String; 2],
    provider: String,
    done: AtomicUsize,
    refused: AtomicUsize,
    operations: usize,
}

impl Clients {
    fn of(stack: &Stack) -> Arc<Self> {
        Arc::new(Self {
            http: stack.http.clone(),
            backends: [stack.url(0, ""), stack.url(1, "")],
            provider: stack.provider("/google/mint"),
            done: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            operations: operations(),
        })
    }

    async fn post(&self, backend: usize, path: &str, body: Value) -> Answer {
        let answer = send(self.http.post(format!("{}{path}", self.backends[backend % 2])).json(&body)).await;
        match answer.status.as_u16() {
            200 | 204 => self.done.fetch_add(1, Ordering::SeqCst),
            503 => self.refused.fetch_add(1, Ordering::SeqCst),
            _ => panic!("{path}: {answer:?}"),
        };
        answer
    }

    async fn sign_in(&self, client: usize, turn: usize) -> Option<Session> {
        let who = json!({ "sub": format!("client {client}"), "name": "A client", "nonce": "n" });
        let minted = send(self.http.post(&self.provider).json(&who)).await.expect(200);
        let body = json!({ "provider": "google", "id_token": minted["id_token"], "nonce": "n" });
        let answer = self.post(client + turn, "/api/auth/login", body).await;
        (answer.status == 200).then(|| Session::read(&answer))
    }

    /// One client, until all have done enough.
    async fn run(&self, client: usize) -> Vec<Session> {
        let mut sessions = Vec::new();
        for turn in 0.. {
            if self.done.load(Ordering::SeqCst) >= self.operations {
                break;
            }
            let Some(mut session) = self.sign_in(client, turn).await else { continue };
            for refresh in 0..3 {
                let body = json!({ "refresh_token": session.refresh_token });
                // Without an answer the token may have been used up all the same: it is used again.
                let answer = self.post(turn + refresh, "/api/auth/refresh", body).await;
                if answer.status == 200 {
                    session = Session::read(&answer);
                }
            }
            if turn % 3 == 0 {
                let body = json!({ "refresh_token": session.refresh_token });
                let answer = self.post(turn, "/api/auth/logout", body).await;
                session.state = if answer.status == 204 { State::Out } else { State::Unknown };
            }
            sessions.push(session);
        }
        sessions
    }

    /// What became of a session.
    async fn check(&self, client: usize, session: &Session) {
        if session.state == State::Unknown {
            return;
        }
        let body = json!({ "refresh_token": session.refresh_token });
        let url = format!("{}/api/auth/refresh", self.backends[client % 2]);
        let answer = send(self.http.post(url).json(&body)).await;
        let expected = if session.state == State::In { 200 } else { 401 };
        assert_eq!(answer.status, expected, "{:?}: {answer:?}", session.state);
        for backend in &self.backends {
            let me = async || {
                let request = self.http.get(format!("{backend}/api/me")).bearer_auth(&session.access_token);
                send(request).await.status.as_u16()
            };
            if session.state == State::In {
                assert_eq!(me().await, 200);
            } else {
                eventually("the access token is refused", async || me().await == 401).await;
            }
        }
    }
}

impl Session {
    fn read(answer: &Answer) -> Self {
        let text = |name: &str| answer.body[name].as_str().expect("a token").to_owned();
        Self { refresh_token: text("refresh_token"), access_token: text("access_token"), state: State::In }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_signs_nobody_out_and_brings_nobody_back() {
    let mut stack = Stack::start_two().await;
    let clients = Clients::of(&stack);
    let running: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let clients = Arc::clone(&clients);
            tokio::spawn(async move { clients.run(client).await })
        })
        .collect();
    for part in 1..4 {
        while clients.done.load(Ordering::SeqCst) < clients.operations * part / 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stack.kill_redis();
        let refused = clients.refused.load(Ordering::SeqCst);
        eventually("somebody notices", async || clients.refused.load(Ordering::SeqCst) > refused).await;
        stack.start_redis().await;
    }
    let mut counts = [0; 3];
    for (client, sessions) in join_all(running).await.into_iter().enumerate() {
        let sessions = sessions.expect("no panic");
        sessions.iter().for_each(|session| counts[session.state as usize] += 1);
        // A user has 20 at most: of the oldest nothing is known.
        let newest = sessions.len().saturating_sub(20);
        join_all(sessions[newest..].iter().map(|session| clients.check(client, session))).await;
    }
    let refused = clients.refused.load(Ordering::SeqCst);
    let [signed_in, _, out] = counts;
    assert!(signed_in > 0 && out > 0 && refused > 0, "it was in the middle of something");
}
