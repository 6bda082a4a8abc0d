//! Rotation against a model: whatever is done with the tokens of some sessions, on two backends and in whatever order, is
//! answered as a model of a few lines says.

use std::collections::HashSet;

use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::harness::{Answer, SignedIn, Stack, eventually, send};

const SECOND: i64 = 1000;
const DAY: i64 = 24 * 3600 * SECOND;

/// One of the sessions, one of the backends, one of the tokens: by number, modulo how many there are.
#[derive(Clone, Debug)]
enum Step {
    SignIn,
    /// With the newest token, or one of those before it.
    Refresh {
        session: Index,
        backend: usize,
        back: usize,
    },
    /// The same token several times at once, on both backends.
    RefreshAtOnce {
        session: Index,
        times: usize,
        back: usize,
    },
    /// A sign-out beside refreshes of the newest token.
    Race {
        session: Index,
    },
    SignOut {
        session: Index,
        backend: usize,
        back: usize,
    },
    SignOutEverywhere {
        session: Index,
    },
    Wait {
        ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let back = prop_oneof![5 => Just(0_usize), 4 => Just(1), 1 => 2..4_usize];
    // Just within the grace, just beyond it, and then by days.
    let waits = [9 * SECOND, 9 * SECOND, 11 * SECOND, 11 * SECOND, 4 * SECOND, 3 * DAY, 6 * DAY, 8 * DAY];
    prop_oneof![
        1 => Just(Step::SignIn),
        10 => (any::<Index>(), 0..2_usize, back.clone())
            .prop_map(|(session, backend, back)| Step::Refresh { session, backend, back }),
        3 => (any::<Index>(), 2..8_usize, back.clone())
            .prop_map(|(session, times, back)| Step::RefreshAtOnce { session, times, back }),
        1 => any::<Index>().prop_map(|session| Step::Race { session }),
        1 => (any::<Index>(), 0..2_usize, back)
            .prop_map(|(session, backend, back)| Step::SignOut { session, backend, back }),
        1 => any::<Index>().prop_map(|session| Step::SignOutEverywhere { session }),
        8 => proptest::sample::select(waits.to_vec()).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// What must become of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It succeeds, and the token has this number.
    Rotated(u64),
    Ended,
    Reused,
}

/// A session, as the model has it. Times are the model's own, in milliseconds.
struct Model {
    newest: u64,
    began: i64,
    rotated: i64,
    has_ended: bool,
}

impl Model {
    fn refresh(&mut self, number: u64, now: i64) -> Verdict {
        if self.has_ended || now - self.rotated > 7 * DAY || now - self.began > 30 * DAY {
            self.has_ended = true;
            return Verdict::Ended;
        }
        if number == self.newest {
            (self.newest, self.rotated) = (self.newest + 1, now);
            return Verdict::Rotated(self.newest);
        }
        if number + 1 == self.newest && now - self.rotated <= 10 * SECOND {
            return Verdict::Rotated(self.newest);
        }
        self.has_ended = true;
        Verdict::Reused
    }
}

/// A session as it is, beside its model.
struct Session {
    user: String,
    id: String,
    /// The token of number n is at n − 1.
    tokens: Vec<String>,
    access_tokens: Vec<String>,
    model: Model,
}

impl Session {
    fn of(signed_in: SignedIn, user: String, now: i64) -> Self {
        let id = signed_in.refresh_token.split('.').next().expect("an id").to_owned();
        let model = Model { newest: 1, began: now, rotated: now, has_ended: false };
        let (tokens, access_tokens) = (vec![signed_in.refresh_token], vec![signed_in.user.token]);
        Self { user, id, tokens, access_tokens, model }
    }

    /// The newest token, or one of those before it; its number.
    fn token(&self, back: usize) -> (u64, &str) {
        let at = (self.tokens.len() - 1).saturating_sub(back);
        (at as u64 + 1, &self.tokens[at])
    }

    /// Notes what came of a refresh, and that it is what had to.
    fn note(&mut self, verdict: Verdict, answer: &Answer) -> Result<(), TestCaseError> {
        match verdict {
            Verdict::Rotated(number) => {
                prop_assert_eq!(answer.status, 200, "{:?}", answer);
                let text = |name: &str| answer.body[name].as_str().expect("a token").to_owned();
                let token = text("refresh_token");
                if self.tokens.len() < number as usize {
                    self.tokens.push(token.clone());
                }
                prop_assert_eq!(&self.tokens[number as usize - 1], &token, "one successor");
                self.access_tokens.push(text("access_token"));
            }
            Verdict::Ended => prop_assert_eq!(&answer.body["type"], "/problems/invalid-refresh-token"),
            Verdict::Reused => prop_assert_eq!(&answer.body["type"], "/problems/refresh-token-reused"),
        }
        Ok(())
    }
}

/// Two backends, the sessions of one case, and the model's clock.
struct World<'a> {
    stack: &'a Stack,
    redis: redis::Connection,
    /// Tells this case's users from those of others.
    case: usize,
    sessions: Vec<Session>,
    now: i64,
}

impl World<'_> {
    async fn refresh(&self, backend: usize, token: &str) -> Answer {
        let body = json!({ "refresh_token": token });
        send(self.stack.http.post(self.stack.url(backend, "/api/auth/refresh")).json(&body)).await
    }

    async fn sign_out(&self, backend: usize, token: &str) -> u16 {
        let body = json!({ "refresh_token": token });
        let answer =
            send(self.stack.http.post(self.stack.url(backend, "/api/auth/logout")).json(&body)).await;
        answer.status.as_u16()
    }

    /// Time goes by for Redis when what it has stored becomes older.
    fn set_clock(&mut self, at: usize) {
        let Session { id, model, .. } = &self.sessions[at];
        let script = r"
            local time = redis.call('TIME')
            local now = time[1] * 1000 + math.floor(time[2] / 1000)
            if redis.call('EXISTS', KEYS[1]) == 1 then
                redis.call('HSET', KEYS[1], 'created', now - ARGV[1], 'last_used', now - ARGV[2], 'rotated', now - ARGV[2])
            end";
        let script = redis::Script::new(script);
        let mut invocation = script.key(format!("session:{id}"));
        invocation.arg(self.now - model.began).arg(self.now - model.rotated);
        invocation.invoke::<()>(&mut self.redis).expect("Redis runs");
    }

    async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let index = |session: &Index| session.index(self.sessions.len());
        match step {
            Step::SignIn => {
                let user = format!("case {} user {}", self.case, self.sessions.len() % 2);
                let signed_in = self.stack.sign_in_on(self.sessions.len() % 2, &user).await;
                self.sessions.push(Session::of(signed_in, user, self.now));
            }
            Step::Refresh { session, backend, back } => {
                let at = index(session);
                self.refresh_at(at, &[*backend], *back).await?;
            }
            Step::RefreshAtOnce { session, times, back } => {
                let at = index(session);
                let backends: Vec<usize> = (0..*times).map(|n| n % 2).collect();
                self.refresh_at(at, &backends, *back).await?;
            }
            Step::Race { session } => self.race(index(session)).await?,
            Step::SignOut { session, backend, back } => {
                let at = index(session);
                let (_, token) = self.sessions[at].token(*back);
                prop_assert_eq!(self.sign_out(*backend, token).await, 204);
                self.sessions[at].model.has_ended = true;
            }
            Step::SignOutEverywhere { session } => {
                let at = index(session);
                let token = self.sessions[at].access_tokens.last().expect("one").clone();
                let url = self.stack.url(at % 2, "/api/auth/logout-all");
                let status = send(self.stack.http.post(url).bearer_auth(token)).await.status;
                // A token that was revoked before ends nothing.
                if status == 204 {
                    let user = self.sessions[at].user.clone();
                    let of_user = self.sessions.iter_mut().filter(|session| session.user == user);
                    of_user.for_each(|session| session.model.has_ended = true);
                } else {
                    prop_assert!(status == 401 && self.sessions[at].model.has_ended, "{}", status);
                }
            }
            Step::Wait { ms } => self.now += ms,
        }
        Ok(())
    }

    async fn refresh_at(&mut self, at: usize, backends: &[usize], back: usize) -> Result<(), TestCaseError> {
        self.set_clock(at);
        let (number, token) = self.sessions[at].token(back);
        let answers = join_all(backends.iter().map(|backend| self.refresh(*backend, token))).await;
        let session = &mut self.sessions[at];
        // Whichever Redis took first: those of one kind are told apart by nothing.
        let mut verdicts: Vec<_> = backends.iter().map(|_| session.model.refresh(number, self.now)).collect();
        for answer in &answers {
            let kind = |verdict: &Verdict| match verdict {
                Verdict::Rotated(_) => answer.status == 200,
                Verdict::Ended => answer.body["type"] == "/problems/invalid-refresh-token",
                Verdict::Reused => answer.body["type"] == "/problems/refresh-token-reused",
            };
            let place = verdicts.iter().position(kind);
            prop_assert!(place.is_some(), "{:?} is none of {:?}", answer, verdicts);
            session.note(verdicts.remove(place.expect("one")), answer)?;
        }
        Ok(())
    }

    /// Whatever comes first, the session has ended afterwards.
    async fn race(&mut self, at: usize) -> Result<(), TestCaseError> {
        self.set_clock(at);
        let (number, token) = self.sessions[at].token(0);
        let (first, status, second) =
            tokio::join!(self.refresh(0, token), self.sign_out(1, token), self.refresh(1, token));
        prop_assert_eq!(status, 204);
        let session = &mut self.sessions[at];
        let verdict = session.model.refresh(number, self.now);
        for answer in [first, second] {
            let is_late = answer.body["type"] == "/problems/invalid-refresh-token";
            session.note(if is_late { Verdict::Ended } else { verdict }, &answer)?;
        }
        session.model.has_ended = true;
        Ok(())
    }

    /// Of the sessions that were ended no access token counts anywhere; of the others each does.
    async fn check_access(&self) -> Result<(), TestCaseError> {
        let ended: HashSet<_> = self.sessions.iter().filter(|s| s.model.has_ended).map(|s| &s.id).collect();
        for session in &self.sessions {
            for token in &session.access_tokens {
                for backend in 0..2 {
                    let url = self.stack.url(backend, "/api/me");
                    let status = async || send(self.stack.http.get(&url).bearer_auth(token)).await.status;
                    if ended.contains(&session.id) && self.was_revoked(session) {
                        eventually("it is refused", async || status().await == 401).await;
                    } else if !ended.contains(&session.id) {
                        prop_assert_eq!(status().await, 200);
                    }
                }
            }
        }
        Ok(())
    }

    /// A session that lay unused for a week, or is a month old, has no access token that lives: nothing is revoked.
    fn was_revoked(&self, session: &Session) -> bool {
        self.now - session.model.rotated <= 7 * DAY && self.now - session.model.began <= 30 * DAY
    }
}

#[test]
fn whatever_is_done_with_refresh_tokens_is_answered_as_the_model_says() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stack = runtime.block_on(Stack::start_two());
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let case = std::cell::Cell::new(0);
    let outcome = runner.run(&vec(step(), 1..40), |steps| {
        case.set(case.get() + 1);
        let redis = stack.redis_connection();
        let mut world = World { stack: &stack, redis, case: case.get(), sessions: Vec::new(), now: 0 };
        runtime.block_on(async {
            world.take(&Step::SignIn).await?;
            for step in &steps {
                world.take(step).await?;
            }
            world.check_access().await
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
