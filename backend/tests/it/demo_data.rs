//! The demo data, loaded into a real database.

use std::path::Path;
use std::process::Command;

use backend::database::Db;
use backend::demo_data::{Summary, load};
use backend::{read, write};

use serde_json::json;

use crate::harness::{Stack, send};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/demo");

async fn count(db: &Db, sql: &'static str) -> i64 {
    read!(db, |pool| sqlx::query_scalar(sql).fetch_one(pool).await.expect("counted"))
}

#[tokio::test]
async fn loading_twice_at_once_loads_once_while_a_backend_runs() {
    let stack = Stack::start().await;
    let other = stack.another_db().await;
    let folder = Path::new(SHIPPED);
    let (one, two) = tokio::join!(load(&stack.db, folder), load(&other, folder));
    let mut summaries = [one.expect("loaded"), two.expect("loaded")];
    summaries.sort_by_key(|summary| *summary == Summary::AlreadyThere);
    assert!(matches!(summaries[0], Summary::Loaded { vendors: 200, .. }), "{summaries:?}");
    assert_eq!(summaries[1], Summary::AlreadyThere);
    assert_eq!(count(&stack.db, "SELECT count(*) FROM vendors").await, 200);

    let page = stack.get("/api/vendors?limit=1").await.expect(200);
    assert_eq!(page["items"][0]["name"], "머리숲 연남");
}

#[tokio::test]
async fn every_vendor_is_owned_by_an_identity_of_its_own() {
    let stack = Stack::start().await;
    load(&stack.db, Path::new(SHIPPED)).await.expect("loaded");
    let owners = "
        SELECT count(DISTINCT i.sub) FROM vendors v
        JOIN users u ON u.id = v.owner_id AND u.role = 'vendor'
        JOIN identities i ON i.user_id = u.id AND i.provider = 'google' AND i.sub LIKE 'owner-___'";
    assert_eq!(count(&stack.db, owners).await, 200);
}

#[tokio::test]
async fn who_signs_in_as_an_owner_is_the_vendor() {
    let stack = Stack::start().await;
    load(&stack.db, Path::new(SHIPPED)).await.expect("loaded");
    let id_token = stack.mint("owner-001", "nonce").await;
    let body = json!({"provider": "google", "id_token": id_token, "nonce": "nonce"});
    let tokens = stack.post("/api/auth/login", body).await.expect(200);
    let token = tokens["access_token"].as_str().expect("a token");
    let me = send(stack.http.get(stack.url(0, "/api/me")).bearer_auth(token)).await.expect(200);
    assert_eq!(me["role"], "vendor");
    let owner: String = read!(&stack.db, |pool| {
        let sql = "SELECT owner_id FROM vendors WHERE name = '머리숲 연남'";
        sqlx::query_scalar(sql).fetch_one(pool).await.expect("found")
    });
    assert_eq!(me["id"], owner);
}

#[tokio::test]
async fn an_owner_who_signed_in_before_keeps_the_user() {
    let stack = Stack::start().await;
    let early = stack.user("early", access_token::Role::User).await;
    let sql =
        "INSERT INTO identities (provider, sub, user_id, created_at) VALUES ('google', 'owner-007', $1, 0)";
    write!(&stack.db, |pool| {
        sqlx::query(sql).bind(&early.id).execute(pool).await.expect("inserted");
    });
    load(&stack.db, Path::new(SHIPPED)).await.expect("loaded");
    let owned: (i64, String) = read!(&stack.db, |pool| {
        let sql =
            "SELECT count(*), max(u.role) FROM vendors v JOIN users u ON u.id = v.owner_id WHERE u.id = $1";
        sqlx::query_as(sql).bind(&early.id).fetch_one(pool).await.expect("counted")
    });
    assert_eq!(owned, (1, "vendor".to_owned()));
}

#[tokio::test]
async fn the_command_says_what_it_did_and_a_wrong_folder_in_one_line() {
    let stack = Stack::start().await;
    let run = |folder: &str| {
        Command::new(env!("CARGO_BIN_EXE_backend"))
            .arg("demo-data")
            .arg(stack.folder().join("config/backend.toml"))
            .arg(folder)
            .output()
            .expect("it runs")
    };
    let wrong = run("/nowhere");
    assert!(!wrong.status.success());
    let error = String::from_utf8_lossy(&wrong.stderr);
    assert!(error.contains("/nowhere/catalogue.toml"), "{error}");

    let said = |folder| String::from_utf8_lossy(&run(folder).stdout).trim().to_owned();
    assert!(said(SHIPPED).starts_with("loaded 200 vendors with "));
    assert_eq!(said(SHIPPED), "there are vendors already; nothing was loaded");
}
