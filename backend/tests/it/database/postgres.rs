//! A PostgreSQL server that goes and comes back, and the ways to get in.

use std::path::{Path, PathBuf};
use std::process::Command;

use access_token::Role;
use backend::config::Config;
use backend::database::Db;
use postgres_cluster::{Cluster, PASSWORD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;

use super::cluster;
use crate::fixtures::noon;
use crate::harness::{Stack, eventually};

/// Two backends on this server.
async fn stack_on(cluster: &Cluster) -> Stack {
    let url = cluster.url("postgres");
    Stack::with_config(2, move |config| config["database"]["url"] = url.as_str().into()).await
}

async fn requests_fail_until_the_server_is_back(restart: fn(&mut Cluster) -> anyhow::Result<()>) {
    let mut cluster = cluster();
    cluster.start().expect("started");
    let stack = stack_on(&cluster).await;
    let user = stack.user("user", Role::User).await;
    let vendor = stack.open_vendor("vendor", "hair").await;
    let service = stack.service(&vendor, 10).await;
    let body = json!({"service_id": service, "starts_at": noon()});
    stack.post_as(&user, "/api/reservations", body.clone()).await.expect(201);

    restart(&mut cluster).expect("gone");
    for path in ["/api/reservations", "/api/me"] {
        stack.get_as(&user, path).await.expect_problem(503, "unavailable");
    }
    let refused = stack.post_as(&user, "/api/reservations", body.clone()).await;
    refused.expect_problem(503, "unavailable");
    assert_eq!(refused.headers["retry-after"], "1");

    cluster.start().expect("started again");
    eventually("bookings are made again", async || {
        stack.post_as(&user, "/api/reservations", body.clone()).await.status == 201
    })
    .await;
    let list = stack.get_as(&user, "/api/reservations").await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
}

#[tokio::test]
async fn while_the_server_is_stopped_requests_answer_503_and_afterwards_they_are_served() {
    requests_fail_until_the_server_is_back(Cluster::stop).await;
}

#[tokio::test]
async fn while_the_server_is_crashed_requests_answer_503_and_afterwards_they_are_served() {
    requests_fail_until_the_server_is_back(Cluster::crash).await;
}

#[tokio::test]
async fn no_request_fails_because_of_a_server_that_was_away_while_nobody_asked() {
    let mut cluster = cluster();
    cluster.start().expect("started");
    let stack = stack_on(&cluster).await;
    let user = stack.user("user", Role::User).await;
    stack.get_as(&user, "/api/me").await.expect(200);
    cluster.stop().expect("stopped");
    cluster.start().expect("started again");
    // From so long an idleness on, a connection is asked whether it lives.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for _ in 0..10 {
        stack.get_as(&user, "/api/me").await.expect(200);
    }
}

/// A CA, as PEM, and a certificate and key of `localhost` that it has issued.
fn certificates(folder: &Path) -> [PathBuf; 3] {
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &ca).expect("signed");
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    [write("ca.pem", ca.pem()), write("server.pem", certificate.pem()), write("key.pem", key.serialize_pem())]
}

/// A server that speaks TLS on a port of its own, started, and the CA that vouches for it.
fn server_with_tls(folder: &Path) -> (Cluster, u16, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let cluster = cluster();
    let [ca, certificate, key] = certificates(folder);
    let hand_over = |from: &Path, mode: u32| {
        let to = cluster.folder().join(from.file_name().expect("a name"));
        std::fs::copy(from, &to).expect("copied");
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode)).expect("set");
        cluster.give_away(&to).expect("given away");
        to.to_str().expect("text").to_owned()
    };
    let (certificate, key) = (hand_over(&certificate, 0o644), hand_over(&key, 0o600));
    let mut cluster =
        cluster.with_tcp().with("ssl", "on").with("ssl_cert_file", &certificate).with("ssl_key_file", &key);
    cluster.start().expect("started");
    let port = cluster.port();
    (cluster, port, ca)
}

/// What the stack's configuration says, with this database instead.
fn settings(stack: &Stack, url: &str, password: &str) -> backend::config::Database {
    let path = stack.folder().join("config/backend.toml");
    let text = std::fs::read_to_string(&path).expect("read");
    let mut config: toml::Table = text.parse().expect("a configuration");
    std::fs::write(stack.folder().join("var/secrets/database-password"), password).expect("written");
    config["database"]["url"] = url.into();
    config["database"]["password_file"] = "../var/secrets/database-password".into();
    let path = stack.folder().join("config/elsewhere.toml");
    std::fs::write(&path, config.to_string()).expect("written");
    Config::load(&path).expect("a valid configuration").database
}

#[tokio::test]
async fn a_server_is_believed_whose_certificate_is_of_the_named_authority_and_no_other() {
    let stack = Stack::start().await;
    let (_cluster, port, ca) = server_with_tls(stack.folder());
    // Relative paths start at the configuration's folder.
    let relative = format!("../{}", ca.file_name().expect("a name").display());
    let url =
        format!("postgres://daemun@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={relative}");
    let db = Db::open(&settings(&stack, &url, PASSWORD)).await.expect("opened");
    let Db::Postgres(pool) = &db else { panic!("it is PostgreSQL") };
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(sqlx::query_scalar::<_, bool>(sql).fetch_one(pool).await.expect("read"));

    let foreign = stack.folder().join("foreign");
    std::fs::create_dir(&foreign).expect("made");
    let [foreign, ..] = certificates(&foreign);
    for url in [
        format!(
            "postgres://daemun@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={}",
            foreign.display()
        ),
        // By a name that isn't in the certificate.
        format!(
            "postgres://daemun@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={}",
            ca.display()
        ),
    ] {
        let error = Db::open(&settings(&stack, &url, PASSWORD)).await.expect_err("refused");
        assert!(format!("{error:#}").contains("certificate"), "{error:#}");
    }
}

#[tokio::test]
async fn a_wrong_password_ends_the_start_and_no_password_is_ever_said() {
    let stack = Stack::start().await;
    let (_cluster, port, _) = server_with_tls(stack.folder());
    let url = format!("postgres://daemun:a%20wrong%20one@localhost:{port}/postgres");
    let path = stack.folder().join("config/backend.toml");
    let text = std::fs::read_to_string(&path).expect("read");
    let mut config: toml::Table = text.parse().expect("a configuration");
    config["database"]["url"] = url.into();
    std::fs::write(&path, config.to_string()).expect("written");
    let loaded = format!("{:?}", Config::load(&path).expect("a valid configuration"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_backend"));
    command.arg("run").arg(path).env("RUST_LOG", "trace");
    let output = tokio::task::spawn_blocking(move || command.output().expect("started")).await.expect("run");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("password authentication failed"), "{said}");
    for text in [said, loaded] {
        assert!(!text.contains("a wrong one") && !text.contains("a%20wrong"), "{text}");
    }
}

#[tokio::test]
async fn text_that_no_database_of_ours_should_hold_is_the_clients_mistake() {
    let mut cluster = cluster();
    cluster.start().expect("started");
    let stack = stack_on(&cluster).await;
    let user = stack.user("user", Role::User).await;
    let vendor = stack.open_vendor("vendor", "hair").await;
    let service = stack.service(&vendor, 10).await;
    let body = json!({"service_id": service, "starts_at": noon(), "note": "a\u{0}b"});
    stack.post_as(&user, "/api/reservations", body).await.expect_problem(400, "bad-request");
}
