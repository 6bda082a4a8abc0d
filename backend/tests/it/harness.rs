//! A stack of a test's own: Redis, a database file, backends that share both, an identity provider.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use access_token::Role;
use backend::app::App;
use backend::auth::keys::{self, SigningKeys};
use backend::auth::tokens::AccessTokens;
use backend::clock::EpochMillis;
use backend::config::Config;
use backend::database::Db;
use identity_provider::IdentityProvider;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use test_database::TestDatabase;
use tokio_util::task::AbortOnDropHandle;

/// The shipped configuration; tests change its places only.
const SHIPPED_CONFIG: &str = include_str!("../../../config/backend.toml");
const SHIPPED_REDIS_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/redis.conf");

/// What becomes true takes at most this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything a test talks to. Dropping it ends all of it.
pub struct Stack {
    pub http: reqwest::Client,
    pub db: Db,
    pub tokens: AccessTokens,
    backends: Vec<App>,
    redis: Option<Redis>,
    provider_url: String,
    _provider: AbortOnDropHandle<()>,
    database: TestDatabase,
    folder: tempfile::TempDir,
}

/// A user with an access token, put straight into the database.
#[derive(Clone, Debug)]
pub struct TestUser {
    pub id: String,
    pub token: String,
}

/// What a signed-in app holds.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub user: TestUser,
    pub refresh_token: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Stack {
    /// One backend.
    pub async fn start() -> Self {
        Self::with_backends(1).await
    }

    /// Two backends on one database and one Redis.
    pub async fn start_two() -> Self {
        Self::with_backends(2).await
    }

    async fn with_backends(count: usize) -> Self {
        Self::with_config(count, |_| {}).await
    }

    /// `count` backends whose configuration `change` has changed.
    pub async fn with_config(count: usize, change: impl Fn(&mut toml::Table)) -> Self {
        backend::telemetry::init();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (provider_url, provider) = start_provider(folder.path()).await;
        let database = TestDatabase::create().await;
        let change = |config: &mut toml::Table| {
            config["database"]["url"] = database.url().into();
            change(config);
        };
        let path = write_config(folder.path(), &provider_url, &change);
        keys::init(&backend::config::keys_dir(&path).expect("named")).expect("made");
        let redis = Some(Redis::start(folder.path()).await);
        let mut backends = Vec::new();
        for _ in 0..count {
            let config = Config::load(&path).expect("a valid configuration");
            backends.push(App::start(config).await.expect("started"));
        }
        let config = Config::load(&path).expect("a valid configuration");
        let db = Db::open(&config.database).await.expect("opened");
        let signing_keys =
            SigningKeys::load(&config.tokens.keys_dir, config.tokens.key_schedule()).expect("keys");
        let tokens = AccessTokens::new(&config.tokens, signing_keys);
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { http, db, tokens, backends, redis, provider_url, _provider: provider, database, folder }
    }

    /// The address of a route on the backend `n`, counted from 0.
    pub fn url(&self, n: usize, path: &str) -> String {
        format!("http://{}{path}", self.backends[n].api_address())
    }

    /// The address of a management route on the backend `n`.
    pub fn management_url(&self, n: usize, path: &str) -> String {
        format!("http://{}{path}", self.backends[n].management_address())
    }

    /// A request to the first backend.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(0, path))
    }

    /// GETs a route of the first backend.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// GETs a route of the first backend on behalf of a user.
    pub async fn get_as(&self, user: &TestUser, path: &str) -> Answer {
        send(self.request(Method::GET, path).bearer_auth(&user.token)).await
    }

    /// POSTs JSON to a route of the first backend on behalf of a user.
    pub async fn post_as(&self, user: &TestUser, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).bearer_auth(&user.token).json(&body)).await
    }

    /// POSTs JSON to a route of the first backend.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    /// A user of this name and role, known to the database and holding an access token, without a sign-in.
    pub async fn user(&self, name: &str, role: Role) -> TestUser {
        let id = uuid::Uuid::now_v7().to_string();
        let sql = "INSERT INTO users (id, name, role, created_at) VALUES ($1, $2, $3, 0)";
        backend::write!(&self.db, |pool| {
            sqlx::query(sql).bind(&id).bind(name).bind(role.as_str()).execute(pool).await.expect("inserted");
        });
        let session = uuid::Uuid::now_v7().to_string();
        let token = self.tokens.issue(&id, &session, role, EpochMillis::now()).expect("signed");
        TestUser { id, token }
    }

    /// An id_token of the user `sub`, as the provider's SDK would hand it to an app.
    pub async fn mint(&self, sub: &str, nonce: &str) -> String {
        let body = json!({"sub": sub, "name": format!("Name of {sub}"), "nonce": nonce});
        let request = self.http.post(format!("{}/google/mint", self.provider_url)).json(&body);
        let answer = send(request).await;
        answer.body["id_token"].as_str().expect("an id_token").to_owned()
    }

    /// Signs the provider's user `sub` in, as a native app does, on the backend `n`.
    pub async fn sign_in_on(&self, n: usize, sub: &str) -> SignedIn {
        let id_token = self.mint(sub, "a nonce").await;
        let login = json!({"provider": "google", "id_token": id_token, "nonce": "a nonce"});
        let tokens = send(self.http.post(self.url(n, "/api/auth/login")).json(&login)).await.expect(200);
        let token = tokens["access_token"].as_str().expect("an access token").to_owned();
        let refresh_token = tokens["refresh_token"].as_str().expect("a refresh token").to_owned();
        let id = self.tokens.verify(&token).expect("a valid token").sub.clone();
        SignedIn { user: TestUser { id, token }, refresh_token }
    }

    /// Signs the provider's user `sub` in on the first backend.
    pub async fn sign_in(&self, sub: &str) -> SignedIn {
        self.sign_in_on(0, sub).await
    }

    /// A vendor that `owner` looks after; its id.
    pub async fn vendor(&self, name: &str, owner: Option<&TestUser>) -> String {
        let id = uuid::Uuid::now_v7().to_string();
        let sql =
            "INSERT INTO vendors (id, owner_id, name, category, summary, address, time_zone, created_at)
            VALUES ($1, $2, $3, 'hair', '', '', 'Asia/Seoul', 0)";
        let owner = owner.map(|owner| &owner.id);
        backend::write!(&self.db, |pool| {
            sqlx::query(sql).bind(&id).bind(owner).bind(name).execute(pool).await.expect("inserted");
        });
        id
    }

    /// The address of a route of the identity provider.
    pub fn provider(&self, path: &str) -> String {
        format!("{}{path}", self.provider_url)
    }

    /// The stack's database.
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// The folder of the stack's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends Redis; what it held in its append-only file stays.
    pub async fn stop_redis(&mut self) {
        self.redis.take().expect("running").stop();
        eventually("redis counts as down", async || {
            let health = send(self.http.get(self.management_url(0, "/actuator/health/readiness"))).await;
            health.body["components"]["redis"]["status"] == "DOWN"
        })
        .await;
    }

    /// Kills Redis: it has no time to write anything.
    pub fn kill_redis(&mut self) {
        drop(self.redis.take().expect("running"));
    }

    /// Starts Redis again, with what it held, and waits until all backends use it.
    pub async fn start_redis(&mut self) {
        self.redis = Some(Redis::start(self.folder.path()).await);
        for n in 0..self.backends.len() {
            eventually("redis counts as up", async || {
                let health = send(self.http.get(self.management_url(n, "/actuator/health/readiness"))).await;
                health.body["components"]["redis"]["status"] == "UP"
            })
            .await;
        }
    }

    /// Runs a command on this stack's Redis and returns what `redis-cli` prints.
    pub fn redis_cli(&self, arguments: &[&str]) -> String {
        redis_cli(self.folder.path(), arguments)
    }

    /// A connection to this stack's Redis.
    pub fn redis_connection(&self) -> redis::Connection {
        let socket = Redis::socket(self.folder.path());
        let url = format!("redis+unix://{}?pass={}", socket.display(), Redis::PASSWORD.replace(' ', "%20"));
        redis::Client::open(url).expect("a URL").get_connection().expect("Redis runs")
    }

    /// Takes the backend `n` out, to be stopped by the test; the others keep their numbers' order.
    pub fn take_backend(&mut self, n: usize) -> App {
        self.backends.remove(n)
    }
}

/// Sends a request and reads the whole answer; a body that isn't JSON reads as null.
pub async fn send(request: RequestBuilder) -> Answer {
    read(request.send().await.expect("an answer")).await
}

async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.expect("a body");
    Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
}

impl Answer {
    /// Fails unless this is the problem of this name and status, whole and as a client expects it.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, name: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.body["type"], format!("/problems/{name}"), "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.body["request_id"], self.headers["x-request-id"].to_str().expect("text"), "{self:?}");
    }

    /// Fails unless the answer has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self.body
    }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn write_config(folder: &Path, provider_url: &str, change: &impl Fn(&mut toml::Table)) -> PathBuf {
    for sub in ["config", "var/secrets"] {
        std::fs::create_dir_all(folder.join(sub)).expect("made");
    }
    std::fs::write(folder.join("var/secrets/redis-password"), Redis::PASSWORD).expect("written");
    std::fs::write(folder.join("var/secrets/refresh-secret"), "0123456789abcdef".repeat(4)).expect("written");
    let shipped = config_text::expand(SHIPPED_CONFIG, |name| environment(name, provider_url));
    let shipped = shipped.expect("it has all that it asks for");
    let mut config: toml::Table = shipped.parse().expect("the shipped configuration");
    config["mode"] = "development".into();
    config["listen"]["api"] = "127.0.0.1:0".into();
    config["listen"]["management"] = "127.0.0.1:0".into();
    config["shutdown"]["drain_ms"] = 0.into();
    config["redis"]["url"] = format!("redis+unix://{}", Redis::socket(folder).display()).into();
    change(&mut config);
    let path = folder.join("config/backend.toml");
    std::fs::write(&path, config.to_string()).expect("written");
    path
}

/// What `cargo xtask up` sets.
fn environment(name: &str, provider_url: &str) -> Option<String> {
    let (provider, what) = name.split_once('_')?;
    if !matches!(provider, "GOOGLE" | "KAKAO") {
        return None;
    }
    let base = format!("{provider_url}/{}", provider.to_lowercase());
    Some(match what {
        "ISSUER" => base,
        "JWKS_URL" => format!("{base}/jwks.json"),
        "AUTHORIZATION_URL" => format!("{base}/authorize"),
        "TOKEN_URL" => format!("{base}/token"),
        "CLIENT_ID" => identity_provider::CLIENT_ID.to_owned(),
        "CLIENT_SECRET" => identity_provider::CLIENT_SECRET.to_owned(),
        "ADMIN_KEY" => identity_provider::KAKAO_ADMIN_KEY.to_owned(),
        _ => return None,
    })
}

async fn start_provider(folder: &Path) -> (String, AbortOnDropHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    // Making RSA keys takes seconds in a debug build: all tests share those of the first.
    let keys_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("identity-provider");
    std::fs::create_dir_all(&keys_dir).expect("made");
    let lock = std::fs::File::create(keys_dir.join(".lock")).expect("made");
    lock.lock().expect("locked");
    let provider = IdentityProvider::open(&keys_dir, &url).expect("opened");
    drop(lock);
    let serve = async move {
        axum::serve(listener, provider.router()).await.expect("serves");
    };
    assert!(folder.exists());
    (url, AbortOnDropHandle::new(tokio::spawn(serve)))
}

/// A Redis of the test's own, with the shipped configuration, on a socket in the test's folder.
struct Redis(Child);

impl Redis {
    const PASSWORD: &str = "the password of tests";

    fn socket(folder: &Path) -> PathBuf {
        folder.join("redis.sock")
    }

    async fn start(folder: &Path) -> Self {
        let child = Command::new("redis-server")
            .arg(SHIPPED_REDIS_CONFIG)
            .args(["--port", "0", "--requirepass", Self::PASSWORD, "--unixsocket"])
            .arg(Self::socket(folder))
            .arg("--dir")
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let redis = Self(child);
        eventually("redis answers", async || redis_cli(folder, &["PING"]) == "PONG").await;
        redis
    }

    fn stop(mut self) {
        let pid = self.0.id().to_string();
        // SIGTERM: an orderly end writes the append-only file.
        Command::new("kill").arg(pid).status().expect("kill is installed");
        self.0.wait().expect("ended");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn redis_cli(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .arg("-s")
        .arg(Redis::socket(folder))
        .args(["--no-auth-warning", "-a", Redis::PASSWORD])
        .args(arguments)
        .output()
        .expect("redis-cli is installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
