//! No token, code or cookie is in a log or a metric, whatever is done with it.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::harness::{Answer, Stack, send};

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All that nobody else may know.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn keep(&mut self, what: &'static str, text: &str) {
        assert!(text.len() > 8, "{what}: {text}");
        self.0.push((what, text.to_owned()));
        // What proves it to be ours stands behind the last point.
        if let Some((_, proof)) = text.rsplit_once('.').filter(|(_, proof)| proof.len() > 8) {
            self.0.push((what, proof.to_owned()));
        }
    }

    /// Those of an answer: tokens, cookies, what the address that it sends to says.
    fn keep_all(&mut self, answer: &Answer) {
        for name in ["access_token", "refresh_token", "ticket"] {
            if let Some(token) = answer.body[name].as_str() {
                self.keep(name, token);
            }
        }
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().expect("text").split(';').next().unwrap_or_default();
            let (_, value) = pair.split_once('=').expect("a pair");
            if !value.is_empty() {
                self.keep("cookie", value);
            }
        }
        let Some(location) = answer.headers.get(LOCATION) else { return };
        let Ok(location) = reqwest::Url::parse(location.to_str().expect("text")) else { return };
        for (name, value) in location.query_pairs() {
            match name.as_ref() {
                "code" => self.keep("code", &value),
                "state" => self.keep("state", &value),
                "nonce" => self.keep("nonce", &value),
                "code_challenge" => self.keep("challenge", &value),
                _ => {}
            }
        }
    }

    fn assert_not_in(&self, place: &str, text: &str) {
        for (what, secret) in &self.0 {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{what} is in {place}");
        }
    }
}

/// A browser's way through sign-in, refresh and sign-out.
async fn browse(stack: &Stack, secrets: &mut Secrets, provider: &str, sub: &str) {
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let browser = browser.expect("a client");
    let departure = send(browser.get(stack.url(0, &format!("/api/auth/login/{provider}")))).await;
    secrets.keep_all(&departure);
    let cookie = |answer: &Answer| {
        let cookies = answer.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut set = cookies.filter(|text| !text.contains("Max-Age=0"));
        set.next().and_then(|text| text.split(';').next()).expect("a cookie").to_owned()
    };
    let at = departure.headers[LOCATION].to_str().expect("text");
    let consent = send(browser.get(format!("{at}&login_hint={sub}"))).await;
    secrets.keep_all(&consent);
    let back = reqwest::Url::parse(consent.headers[LOCATION].to_str().expect("text")).expect("a URL");
    let callback = stack.url(1, &back[url::Position::BeforePath..]);
    let arrival = send(browser.get(&callback).header(COOKIE, cookie(&departure))).await;
    assert_eq!(arrival.status, 302);
    secrets.keep_all(&arrival);
    // Once more, by mistake.
    send(browser.get(&callback).header(COOKIE, cookie(&departure)))
        .await
        .expect_problem(400, "unknown-sign-in");
    let post = |path: &str, cookie: &str| {
        browser.post(stack.url(0, path)).header(COOKIE, cookie).header(ORIGIN, "https://localhost:8443")
    };
    let refreshed = send(post("/api/auth/refresh", &cookie(&arrival)).json(&json!({}))).await;
    assert_eq!(refreshed.status, 200);
    secrets.keep_all(&refreshed);
    send(post("/api/auth/logout", &cookie(&refreshed)).json(&json!({}))).await.expect(204);
}

/// An app's, with all that can go wrong.
async fn use_an_app(stack: &Stack, secrets: &mut Secrets) {
    let id_token = stack.mint("ada", "a nonce of the app").await;
    secrets.keep("id_token", &id_token);
    let login = |id_token: &str, nonce: &str| {
        let body = json!({ "provider": "google", "id_token": id_token, "nonce": nonce });
        stack.http.post(stack.url(0, "/api/auth/login")).json(&body)
    };
    send(login(&id_token, "another nonce")).await.expect_problem(401, "invalid-id-token");
    let signed_in = send(login(&id_token, "a nonce of the app")).await;
    secrets.keep_all(&signed_in);
    send(login(&id_token, "a nonce of the app")).await.expect_problem(401, "invalid-id-token");
    let token = signed_in.body["access_token"].as_str().expect("a token").to_owned();
    let first = signed_in.body["refresh_token"].as_str().expect("a token").to_owned();
    let refresh = async |token: &str| {
        send(stack.http.post(stack.url(1, "/api/auth/refresh")).json(&json!({ "refresh_token": token })))
            .await
    };
    let linked = stack.mint("ada at work", "a nonce of the app").await;
    secrets.keep("id_token", &linked);
    let body = json!({ "id_token": linked, "nonce": "a nonce of the app" });
    let link = stack.http.post(stack.url(0, "/api/auth/identities/google")).bearer_auth(&token).json(&body);
    send(link).await.expect(204);
    let ticket = send(stack.http.post(stack.url(0, "/api/chat/ws-ticket")).bearer_auth(&token)).await;
    secrets.keep_all(&ticket);
    let second = refresh(&first).await;
    secrets.keep_all(&second);
    let third = refresh(second.body["refresh_token"].as_str().expect("a token")).await;
    secrets.keep_all(&third);
    refresh(&first).await.expect_problem(401, "refresh-token-reused");
    refresh(&format!("{first}x")).await.expect_problem(401, "invalid-refresh-token");
    let revoked = stack.http.get(stack.url(1, "/api/me")).bearer_auth(&token);
    crate::harness::eventually("it is revoked", async || {
        send(revoked.try_clone().expect("no body")).await.status == 401
    })
    .await;
}

async fn tell_of_users(stack: &Stack, secrets: &mut Secrets) {
    for (provider, sub) in [("google", "ada"), ("kakao", "1000000001")] {
        let receiver = stack.url(0, &format!("/api/auth/events/{provider}"));
        let order = json!({ "sub": sub, "receiver": receiver });
        let told = send(stack.http.post(stack.provider(&format!("/{provider}/events"))).json(&order)).await;
        if provider == "google" {
            secrets.keep("event", told.body["sent"].as_str().expect("a token"));
        }
    }
    secrets.keep("key", identity_provider::KAKAO_ADMIN_KEY);
    secrets.keep("secret", identity_provider::CLIENT_SECRET);
    let wrong = stack
        .http
        .post(stack.url(0, "/api/auth/events/kakao"))
        .header("authorization", "KakaoAK guessed-by-a-thief");
    secrets.keep("key", "guessed-by-a-thief");
    send(wrong.body("user_id=1")).await.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn no_token_code_or_cookie_is_in_a_log_or_a_metric() {
    let mut stack = Stack::start_two().await;
    let log = Log::default();
    let writer = log.clone();
    // All tasks of this test run on this thread.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("backend=trace,info"))
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut secrets = Secrets::default();
    browse(&stack, &mut secrets, "google", "ada").await;
    browse(&stack, &mut secrets, "kakao", "1000000001").await;
    use_an_app(&stack, &mut secrets).await;
    tell_of_users(&stack, &mut secrets).await;
    let metrics = stack.http.get(stack.management_url(0, "/actuator/prometheus")).send().await;
    let metrics = metrics.expect("answered").text().await.expect("text");
    // Failures say the most.
    let kept = stack.sign_in("ada").await;
    secrets.keep("refresh token", &kept.refresh_token);
    stack.stop_redis().await;
    let body = json!({ "refresh_token": kept.refresh_token });
    send(stack.http.post(stack.url(1, "/api/auth/refresh")).json(&body))
        .await
        .expect_problem(503, "unavailable");
    let text = log.text();
    for said in ["signed in", "refresh-token-reuse", "a provider tells of a user"] {
        assert!(text.contains(said), "the log is not caught: {text}");
    }
    assert!(secrets.0.len() > 40, "{}", secrets.0.len());
    secrets.assert_not_in("the log", &text);
    secrets.assert_not_in("the metrics", &metrics);
}
