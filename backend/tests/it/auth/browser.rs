//! Signing in with a browser, at both providers, and what its cookie may do.

use reqwest::header::{COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{RequestBuilder, Url};
use serde_json::json;

use crate::harness::{Answer, Stack, send};

const OWN: &str = "https://localhost:8443";

/// A browser without redirects of its own: each step is looked at.
struct Browser<'a> {
    stack: &'a Stack,
    http: reqwest::Client,
}

impl<'a> Browser<'a> {
    fn new(stack: &'a Stack) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Self { stack, http: http.expect("a client") }
    }

    async fn get(&self, url: &str, cookie: Option<&str>) -> Answer {
        let request = self.http.get(url);
        send(match cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        })
        .await
    }

    /// Begins to sign in: where the provider is, and the cookie.
    async fn depart(&self, provider: &str, return_to: &str) -> (Url, String) {
        let url = self.stack.url(0, &format!("/api/auth/login/{provider}?return_to={return_to}"));
        let answer = self.get(&url, None).await;
        assert_eq!(answer.status, 302, "{answer:?}");
        (location(&answer.headers), cookie(&answer.headers, "__Host-sign-in").expect("a cookie"))
    }

    /// The callback that the provider sends somebody back to, on the other backend.
    async fn consent(&self, at: &Url, sub: &str) -> String {
        let mut at = at.clone();
        at.query_pairs_mut().append_pair("login_hint", sub);
        let answer = self.get(at.as_str(), None).await;
        let back = location(&answer.headers);
        assert_eq!(&back[..url::Position::BeforePath], OWN, "registered there");
        self.stack.url(1, &back[url::Position::BeforePath..])
    }

    async fn sign_in(&self, provider: &str, sub: &str) -> Answer {
        let (at, cookie) = self.depart(provider, "/my/page?x=1").await;
        let callback = self.consent(&at, sub).await;
        self.get(&callback, Some(&cookie)).await
    }

    /// A signed-in browser's cookie.
    async fn session(&self, sub: &str) -> String {
        cookie(&self.sign_in("google", sub).await.headers, "__Host-refresh").expect("a session")
    }

    fn post(&self, n: usize, path: &str, cookie: &str) -> RequestBuilder {
        self.http.post(self.stack.url(n, path)).header(COOKIE, cookie).header(ORIGIN, OWN).json(&json!({}))
    }
}

fn location(headers: &HeaderMap) -> Url {
    let text = headers[LOCATION].to_str().expect("text");
    Url::parse(OWN).and_then(|own| own.join(text)).expect("a URL")
}

/// `NAME=VALUE` of a cookie that is set.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().expect("text"));
    let set = all.into_iter().find(|text| text.starts_with(name) && !text.contains("Max-Age=0"))?;
    for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(set.contains(part), "{part}: {set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    set.split(';').next().map(str::to_owned)
}

#[tokio::test]
async fn a_browser_signs_in_at_either_provider_and_comes_back_to_its_page() {
    let stack = Stack::start_two().await;
    let browser = Browser::new(&stack);
    for (provider, sub, name) in [("google", "ada", "Ada"), ("kakao", "1000000001", "지민")] {
        let answer = browser.sign_in(provider, sub).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[LOCATION]),
            (302, &"/my/page?x=1".parse().expect("it"))
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
        let session = cookie(&answer.headers, "__Host-refresh").expect("a session");
        let answer = send(browser.post(0, "/api/auth/refresh", &session)).await;
        let successor = cookie(&answer.headers, "__Host-refresh").expect("the next");
        assert_ne!(successor, session);
        let body = answer.expect(200);
        assert!(body.get("refresh_token").is_none(), "a script never sees it");
        let token = body["access_token"].as_str().expect("a token");
        let me = send(stack.http.get(stack.url(1, "/api/me")).bearer_auth(token)).await.expect(200);
        assert_eq!(me["name"], name);
    }
}

#[tokio::test]
async fn a_callback_works_once_and_in_its_own_browser() {
    let stack = Stack::start_two().await;
    let browser = Browser::new(&stack);
    let (at, own) = browser.depart("google", "/").await;
    let callback = browser.consent(&at, "ada").await;
    let (_, anothers) = browser.depart("google", "/").await;
    browser.get(&callback, None).await.expect_problem(400, "unknown-sign-in");
    browser.get(&callback, Some(&anothers)).await.expect_problem(400, "unknown-sign-in");
    assert_eq!(browser.get(&callback, Some(&own)).await.status, 302);
    browser.get(&callback, Some(&own)).await.expect_problem(400, "unknown-sign-in");
}

#[tokio::test]
async fn a_sign_in_of_one_provider_does_not_end_at_another() {
    let stack = Stack::start_two().await;
    let browser = Browser::new(&stack);
    let (at, own) = browser.depart("google", "/").await;
    let callback = browser.consent(&at, "ada").await.replace("callback/google", "callback/kakao");
    browser.get(&callback, Some(&own)).await.expect_problem(400, "unknown-sign-in");
}

#[tokio::test]
async fn who_changes_their_mind_is_where_they_were_and_nobody_is_sent_elsewhere() {
    let stack = Stack::start_two().await;
    let browser = Browser::new(&stack);
    let (_, own) = browser.depart("google", "/my/page").await;
    let denied = stack.url(1, "/api/auth/callback/google?error=access_denied&state=s");
    let answer = browser.get(&denied, Some(&own)).await;
    assert_eq!((answer.status.as_u16(), &answer.headers[LOCATION]), (302, &"/my/page".parse().expect("it")));
    assert!(cookie(&answer.headers, "__Host-refresh").is_none());
    let (_, own) = browser.depart("google", "//evil.kr").await;
    assert_eq!(browser.get(&denied, Some(&own)).await.headers[LOCATION], "/");
    let nobody = stack.url(0, "/api/auth/login/nobody");
    browser.get(&nobody, None).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn each_fault_of_a_provider_is_a_problem_and_nobody_is_signed_in() {
    let stack = Stack::start_two().await;
    let browser = Browser::new(&stack);
    let switch = async |fault: &str| {
        let body = json!({ "fault": fault, "milliseconds": 6000 });
        send(stack.http.put(stack.provider("/google/faults")).json(&body)).await.expect(200);
    };
    for (fault, status, name) in [
        ("wrong-nonce", 401, "invalid-id-token"),
        ("expired", 401, "invalid-id-token"),
        ("wrong-audience", 401, "invalid-id-token"),
        ("wrong-issuer", 401, "invalid-id-token"),
        ("unknown-key", 401, "invalid-id-token"),
        ("error", 503, "unavailable"),
        ("slow", 503, "unavailable"),
    ] {
        switch(fault).await;
        let answer = browser.sign_in("google", "ada").await;
        answer.expect_problem(status, name);
        assert!(cookie(&answer.headers, "__Host-refresh").is_none());
    }
    switch("none").await;
    assert_eq!(browser.sign_in("google", "ada").await.status, 302);
}

#[tokio::test]
async fn a_rotated_key_of_a_provider_is_learned() {
    let stack = Stack::start().await;
    stack.sign_in("ada").await;
    send(stack.http.post(stack.provider("/google/keys/rotate"))).await.expect(204);
    stack.sign_in("ada").await;
}

#[tokio::test]
async fn the_cookie_counts_in_requests_of_the_sites_own_pages_only() {
    let stack = Stack::start_two().await;
    let browser = Browser::new(&stack);
    let session = browser.session("ada").await;
    for path in ["/api/auth/refresh", "/api/auth/logout"] {
        let url = stack.url(0, path);
        let with = |fields: &[(&'static str, &'static str)]| {
            let request = browser.http.post(&url).header(COOKIE, &session);
            fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body("{}")
        };
        for bad in [
            &[("content-type", "application/json")][..],
            &[("content-type", "application/json"), ("origin", "https://evil.kr")],
            &[("content-type", "application/json"), ("origin", "null")],
            &[("content-type", "application/json"), ("origin", OWN), ("sec-fetch-site", "cross-site")],
        ] {
            send(with(bad)).await.expect_problem(403, "cross-site");
        }
        let form = [("content-type", "text/plain"), ("origin", OWN)];
        send(with(&form)).await.expect_problem(415, "unsupported-media-type");
    }
    // Nothing of it has used the token up.
    let answer = send(browser.post(0, "/api/auth/refresh", &session)).await;
    assert_eq!(answer.status, 200);
    let session = cookie(&answer.headers, "__Host-refresh").expect("the next");
    let answer = send(browser.post(1, "/api/auth/logout", &session)).await;
    assert_eq!(answer.status, 204);
    assert!(answer.headers[SET_COOKIE].to_str().expect("text").contains("Max-Age=0"));
    let answer = send(browser.post(0, "/api/auth/refresh", &session)).await;
    assert!(answer.headers[SET_COOKIE].to_str().expect("text").contains("Max-Age=0"));
    answer.expect_problem(401, "invalid-refresh-token");
    let nothing = browser.http.post(stack.url(0, "/api/auth/refresh"));
    send(nothing).await.expect_problem(401, "refresh-token-missing");
}

#[tokio::test]
async fn without_redis_a_browser_is_told_to_come_again() {
    let mut stack = Stack::start_two().await;
    let session = Browser::new(&stack).session("ada").await;
    stack.stop_redis().await;
    let browser = Browser::new(&stack);
    let login = stack.url(0, "/api/auth/login/google");
    for answer in
        [browser.get(&login, None).await, send(browser.post(0, "/api/auth/refresh", &session)).await]
    {
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        answer.expect_problem(503, "unavailable");
    }
    stack.start_redis().await;
    let browser = Browser::new(&stack);
    assert_eq!(send(browser.post(1, "/api/auth/refresh", &session)).await.status, 200);
}

#[tokio::test]
async fn a_provider_ends_its_users_sessions() {
    let stack = Stack::start_two().await;
    let browser = Browser::new(&stack);
    for (provider, sub, status) in [("google", "ada", 202), ("kakao", "1000000001", 200)] {
        let answer = browser.sign_in(provider, sub).await;
        let session = cookie(&answer.headers, "__Host-refresh").expect("a session");
        let receiver = stack.url(0, &format!("/api/auth/events/{provider}"));
        let tell = async |sub: &str, jti: &str| {
            let order = if provider == "google" {
                json!({ "sub": sub, "receiver": receiver, "jti": jti })
            } else {
                json!({ "sub": sub, "receiver": receiver })
            };
            send(stack.http.post(stack.provider(&format!("/{provider}/events"))).json(&order))
                .await
                .expect(200)
        };
        assert_eq!(tell("9999999999", "j-0").await["status"], status, "who isn't known here is no fault");
        assert_eq!(tell(sub, "j-1").await["status"], status);
        let refreshed = send(browser.post(1, "/api/auth/refresh", &session)).await;
        refreshed.expect_problem(401, "invalid-refresh-token");
        if provider == "google" {
            // The same event again ends nothing that began after it.
            let again = browser.session(sub).await;
            assert_eq!(tell(sub, "j-1").await["status"], status);
            assert_eq!(send(browser.post(1, "/api/auth/refresh", &again)).await.status, 200);
        }
    }
}

#[tokio::test]
async fn an_event_that_is_not_the_providers_is_refused() {
    let stack = Stack::start().await;
    let send_event = async |provider: &str, authorization: Option<&str>, body: String| {
        let request = stack.http.post(stack.url(0, &format!("/api/auth/events/{provider}"))).body(body);
        send(match authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        })
        .await
    };
    send_event("nobody", None, String::new()).await.expect_problem(404, "not-found");
    send_event("google", None, "x.y.z".into()).await.expect_problem(400, "bad-request");
    send_event("kakao", None, "user_id=1".into()).await.expect_problem(400, "bad-request");
    send_event("kakao", Some("KakaoAK guessed"), "user_id=1".into()).await.expect_problem(400, "bad-request");
    // Kakao's key signs nothing for Google.
    let order = json!({ "sub": "1" });
    let event = send(stack.http.post(stack.provider("/google/events")).json(&order)).await.expect(200);
    let event = event["sent"].as_str().expect("a token").to_owned();
    send_event("kakao", None, event.clone()).await.expect_problem(400, "bad-request");
    let id_token = stack.mint("ada", "n").await;
    send_event("google", None, id_token).await.expect_problem(400, "bad-request");
    assert_eq!(send_event("google", None, event).await.status, 202);
}
