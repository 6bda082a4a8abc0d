//! The authorization code flow, as both providers have it, and what may be switched to go wrong.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::BodyExt as _;
use identity_provider::{CLIENT_ID, CLIENT_SECRET, IdentityProvider};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tower::ServiceExt as _;
use url::Url;
use url::form_urlencoded::Serializer;

const BASE_URL: &str = "http://127.0.0.1:9000";
const VERIFIER: &str = "a-verifier-of-a-client-that-is-long-enough-for-anybody";

struct Provider {
    router: Router,
    _keys: TempDir,
}

impl Provider {
    fn open() -> Self {
        let keys = tempfile::tempdir().expect("a temporary folder");
        let provider = IdentityProvider::open(keys.path(), BASE_URL).expect("the provider opens");
        Self { router: provider.router(), _keys: keys }
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, Option<Url>, String) {
        let answer = self.router.clone().oneshot(request).await.expect("the router always answers");
        let status = answer.status();
        let location = answer.headers().get(header::LOCATION).map(|it| it.to_str().expect("text"));
        let location = location.map(|it| Url::parse(it).expect("a URL"));
        let body = answer.into_body().collect().await.expect("whole").to_bytes();
        (status, location, String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn get(&self, path: &str) -> (StatusCode, Option<Url>, String) {
        self.ask(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    /// A page's address, with some fields in other words.
    fn page(provider: &str, other: &[(&str, &str)]) -> String {
        let callback = format!("https://localhost:8443/api/auth/callback/{provider}");
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let usual = [
            ("client_id", CLIENT_ID),
            ("redirect_uri", &callback),
            ("response_type", "code"),
            ("scope", "openid"),
            ("state", "s-1"),
            ("nonce", "n-1"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let mut query = Serializer::new(String::new());
        let kept = usual.iter().filter(|(name, _)| other.iter().all(|(changed, _)| changed != name));
        query.extend_pairs(kept);
        query.extend_pairs(other.iter().filter(|(_, value)| !value.is_empty()));
        format!("/{provider}/authorize?{}", query.finish())
    }

    /// A code for this user.
    async fn code(&self, provider: &str, sub: &str, other: &[(&str, &str)]) -> String {
        let (status, location, body) =
            self.get(&Self::page(provider, &[other, &[("login_hint", sub)]].concat())).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{body}");
        let fields = fields(&location.expect("a location"));
        assert_eq!(find(&fields, "state"), Some("s-1"));
        find(&fields, "code").expect("a code").to_owned()
    }

    async fn exchange(&self, provider: &str, fields: &[(&str, &str)], basic: bool) -> (StatusCode, Value) {
        let mut request = Request::post(format!("/{provider}/token"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if basic {
            let credentials = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
            request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
        }
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let (status, _, body) = self.ask(request.body(Body::from(body)).expect("a request")).await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    async fn take(&self, provider: &str, code: &str) -> (StatusCode, Value) {
        let callback = format!("https://localhost:8443/api/auth/callback/{provider}");
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &callback),
            ("code_verifier", VERIFIER),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
        ];
        self.exchange(provider, &fields, false).await
    }

    /// What a token says, if its key is published.
    async fn read(&self, provider: &str, token: &str) -> Option<Value> {
        let (_, _, jwks) = self.get(&format!("/{provider}/jwks.json")).await;
        let jwks: JwkSet = serde_json::from_str(&jwks).expect("a JWK Set");
        let key = jwks.find(&decode_header(token).expect("a header").kid.expect("a key id"))?.clone();
        let mut validation = Validation::new(Algorithm::RS256);
        (validation.validate_aud, validation.validate_exp) = (false, false);
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_jwk(&key).expect("a usable key");
        Some(decode::<Value>(token, &key, &validation).expect("signed by it").claims)
    }

    async fn switch(&self, fault: &str) {
        let request = Request::put("/google/faults").header(header::CONTENT_TYPE, "application/json");
        let body = json!({ "fault": fault, "milliseconds": 1 }).to_string();
        let (status, ..) = self.ask(request.body(Body::from(body)).expect("a request")).await;
        assert_eq!(status, StatusCode::OK);
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let (status, _, text) =
            self.ask(request.body(Body::from(body.to_string())).expect("a request")).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

fn fields(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().into_owned().collect()
}

fn find<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn a_code_is_worth_one_id_token() {
    let provider = Provider::open();
    for (name, sub) in [("google", "ada"), ("kakao", "1000000001")] {
        let code = provider.code(name, sub, &[]).await;
        let (status, answer) = provider.take(name, &code).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let claims =
            provider.read(name, answer["id_token"].as_str().expect("an id_token")).await.expect("known");
        assert_eq!((&claims["sub"], &claims["nonce"]), (&json!(sub), &json!("n-1")));
        assert_eq!(claims.get("email").is_some(), name == "google");
        let request = Request::get(format!("/{name}/v1/oidc/userinfo")).header(
            header::AUTHORIZATION,
            format!("Bearer {}", answer["access_token"].as_str().unwrap_or("")),
        );
        let (status, _, user) = provider.ask(request.body(Body::empty()).expect("a request")).await;
        assert!(status.is_success() && user.contains(sub), "{user}");
        let (status, answer) = provider.take(name, &code).await;
        assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
    }
}

#[tokio::test]
async fn a_code_is_for_who_holds_the_verifier_and_asked_from_there() {
    let provider = Provider::open();
    let usual = |code: String| {
        vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("redirect_uri", "https://localhost:8443/api/auth/callback/google".into()),
            ("code_verifier", VERIFIER.into()),
            ("client_id", CLIENT_ID.into()),
            ("client_secret", CLIENT_SECRET.into()),
        ]
    };
    for (name, value, error) in [
        ("code_verifier", "another", "invalid_grant"),
        ("redirect_uri", "https://localhost:9/api/auth/callback/google", "invalid_grant"),
        ("client_secret", "another", "invalid_client"),
        ("grant_type", "password", "unsupported_grant_type"),
    ] {
        let mut fields = usual(provider.code("google", "ada", &[]).await);
        fields.iter_mut().filter(|(field, _)| *field == name).for_each(|(_, old)| value.clone_into(old));
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (_, answer) = provider.exchange("google", &fields, false).await;
        assert_eq!(answer["error"], error, "{name}");
    }
}

#[tokio::test]
async fn kakao_takes_its_secret_in_the_form_only_and_google_either_way() {
    let provider = Provider::open();
    for (name, sub, expected) in
        [("google", "ada", StatusCode::OK), ("kakao", "1000000001", StatusCode::UNAUTHORIZED)]
    {
        let code = provider.code(name, sub, &[]).await;
        let callback = format!("https://localhost:8443/api/auth/callback/{name}");
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", &callback),
            ("code_verifier", VERIFIER),
        ];
        assert_eq!(provider.exchange(name, &fields, true).await.0, expected, "{name}");
    }
}

#[tokio::test]
async fn kakao_knows_users_by_number_gives_no_address_and_no_id_token_unasked() {
    let provider = Provider::open();
    let error = async |other: &[(&str, &str)]| {
        let (_, location, _) = provider.get(&Provider::page("kakao", other)).await;
        find(&fields(&location.expect("back to the client")), "error").map(str::to_owned)
    };
    assert_eq!(error(&[("login_hint", "ada")]).await.as_deref(), Some("invalid_request"));
    assert_eq!(
        error(&[("scope", "openid account_email"), ("login_hint", "1")]).await.as_deref(),
        Some("invalid_scope")
    );
    let code = provider.code("kakao", "1000000001", &[("scope", "profile_nickname")]).await;
    let (status, answer) = provider.take("kakao", &code).await;
    assert!(status.is_success() && answer.get("id_token").is_none(), "{answer}");
    let (status, _) = provider.post("/kakao/mint", &json!({ "sub": "ada", "name": "Ada" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_page_lets_a_person_pick_and_nobody_is_sent_elsewhere() {
    let provider = Provider::open();
    let (status, _, page) = provider.get(&Provider::page("google", &[("state", "\"><script>")])).await;
    assert!(status.is_success() && page.contains("login_hint=ada") && !page.contains("<script>"), "{page}");
    for other in [("redirect_uri", "https://evil.example/"), ("client_id", "another")] {
        let (status, location, _) = provider.get(&Provider::page("google", &[other])).await;
        assert_eq!((status, location), (StatusCode::BAD_REQUEST, None));
    }
    for other in [("code_challenge_method", "plain"), ("response_type", "token")] {
        let (_, location, _) = provider.get(&Provider::page("google", &[other])).await;
        assert!(find(&fields(&location.expect("back")), "error").is_some(), "{other:?}");
    }
}

#[tokio::test]
async fn each_fault_shows_in_the_next_token() {
    let provider = Provider::open();
    let mint = async |fault: &str| {
        provider.switch(fault).await;
        provider.post("/google/mint", &json!({ "sub": "ada", "name": "Ada", "nonce": "n-1" })).await.1
    };
    let read =
        async |answer: &Value| provider.read("google", answer["id_token"].as_str().expect("one")).await;
    let claims = read(&mint("wrong-nonce").await).await.expect("known");
    assert_ne!(claims["nonce"], "n-1");
    let claims = read(&mint("expired").await).await.expect("known");
    assert!(claims["exp"].as_u64() < read(&mint("none").await).await.expect("known")["iat"].as_u64());
    let claims = read(&mint("wrong-audience").await).await.expect("known");
    assert_ne!(claims["aud"], CLIENT_ID);
    let claims = read(&mint("wrong-issuer").await).await.expect("known");
    assert_ne!(claims["iss"], format!("{BASE_URL}/google"));
    assert!(read(&mint("unknown-key").await).await.is_none());
    provider.switch("error").await;
    assert_eq!(provider.get("/google/jwks.json").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(provider.take("google", "x").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(provider.get("/kakao/jwks.json").await.0, StatusCode::OK);
    provider.switch("slow").await;
    assert_eq!(provider.get("/google/jwks.json").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_rotated_key_signs_and_the_one_before_stays_until_it_is_withdrawn() {
    let provider = Provider::open();
    let mint = async || {
        let answer = provider.post("/google/mint", &json!({ "sub": "ada", "name": "Ada" })).await.1;
        answer["id_token"].as_str().expect("an id_token").to_owned()
    };
    let before = mint().await;
    provider.post("/google/keys/rotate", &Value::Null).await;
    let after = mint().await;
    assert_ne!(decode_header(&before).expect("one").kid, decode_header(&after).expect("one").kid);
    assert!(
        provider.read("google", &before).await.is_some() && provider.read("google", &after).await.is_some()
    );
    provider.post("/google/keys/rotate?withdraw=true", &Value::Null).await;
    assert!(
        provider.read("google", &after).await.is_none()
            && provider.read("google", &mint().await).await.is_some()
    );
}

#[tokio::test]
async fn google_signs_its_events_and_kakao_calls_a_webhook() {
    let provider = Provider::open();
    let (_, sent) = provider.post("/google/events", &json!({ "sub": "ada", "jti": "j-1" })).await;
    let event = provider.read("google", sent["sent"].as_str().expect("a token")).await.expect("known");
    let kind = "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked";
    assert_eq!((&event["jti"], &event["aud"]), (&json!("j-1"), &json!(CLIENT_ID)));
    assert_eq!(event["events"][kind]["subject"]["sub"], "ada");
    let (_, sent) = provider.post("/kakao/events", &json!({ "sub": "1000000001" })).await;
    assert!(sent["sent"].as_str().expect("a form").contains("user_id=1000000001"), "{sent}");
    let nobody = json!({ "sub": "ada", "receiver": "http://127.0.0.1:1/" });
    assert_eq!(provider.post("/google/events", &nobody).await.0, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn an_event_reaches_its_receiver() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let receiver = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let told = std::sync::Arc::new(std::sync::Mutex::new(None));
    let tell = std::sync::Arc::clone(&told);
    let hook = axum::routing::post(async move |headers: axum::http::HeaderMap, body: String| {
        *tell.lock().expect("whole") = Some((headers[header::AUTHORIZATION].clone(), body));
        StatusCode::ACCEPTED
    });
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", hook)).await });
    let provider = Provider::open();
    let (_, sent) = provider.post("/kakao/events", &json!({ "sub": "7", "receiver": receiver })).await;
    assert_eq!(sent["status"], 202);
    let told = told.lock().expect("whole").take().expect("it was told");
    assert!(told.0.to_str().expect("text").starts_with("KakaoAK ") && told.1.contains("user_id=7"));
}
