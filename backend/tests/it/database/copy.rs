//! The move from SQLite to PostgreSQL.

use std::time::Duration;

use access_token::Role;
use backend::database::Db;
use backend::write;
use postgres_cluster::Cluster;
use serde_json::json;
use test_database::TestDatabase;
use tokio_util::sync::CancellationToken;

use super::{book_until, cluster, command, stack_on_sqlite};
use crate::fixtures::noon;
use crate::harness::Stack;

/// A stack on SQLite with something in it, and a server to move to.
struct Scene {
    // Dropped in this order: the file goes last.
    stack: Stack,
    cluster: Cluster,
    from: String,
    to: String,
    _database: TestDatabase,
}

impl Scene {
    async fn new() -> Self {
        let database = TestDatabase::sqlite();
        let stack = stack_on_sqlite(&database).await;
        let mut cluster = cluster();
        cluster.start().expect("started");
        let from = stack.folder().join("config/backend.toml").to_str().expect("text").to_owned();
        let to = cluster.url("postgres");
        Self { stack, cluster, from, to, _database: database }
    }

    async fn copy(&self, more: &[&str]) -> (bool, String) {
        command(&[&["copy", &self.from, &self.to], more].concat()).await
    }

    /// Backends on the copy.
    async fn moved(&self) -> Stack {
        let url = self.to.clone();
        Stack::with_config(1, move |config| config["database"]["url"] = url.as_str().into()).await
    }

    async fn execute_in_target(&self, sql: &'static str) {
        let pool = sqlx::PgPool::connect(&self.to).await.expect("connected");
        sqlx::query(sql).execute(&pool).await.expect("executed");
    }

    async fn count_in_target(&self, table: &str) -> i64 {
        let pool = sqlx::PgPool::connect(&self.to).await.expect("connected");
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(sql).fetch_one(&pool).await.expect("counted")
    }
}

#[tokio::test]
async fn what_is_acknowledged_during_a_move_is_there_afterwards_and_the_file_takes_nothing_more() {
    let scene = Scene::new().await;
    let stack = &scene.stack;
    let guest = stack.sign_in("guest").await.user;
    let vendor = stack.open_vendor("가게, a 'shop' \u{1F488}", "hair").await;
    let service = stack.service(&vendor, 1_000_000).await;
    stack.post_as(&guest, "/api/chat/rooms", json!({"vendor_id": vendor.id})).await.expect(201);
    let stop = CancellationToken::new();
    let moving = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let outcome = scene.copy(&[]).await;
        stop.cancel();
        outcome
    };
    let (booked, (is_done, said)) = tokio::join!(book_until(stack, &guest, &service, &stop), moving);
    assert!(is_done, "{said}");
    assert!(said.contains("both sides hold the same; the file is sealed"), "{said}");
    assert!(!booked.is_empty());
    assert_eq!(
        scene.count_in_target("reservations").await,
        i64::try_from(booked.len()).expect("few"),
        "{said}"
    );

    // The backends on the file read on, and write nothing.
    let body = json!({"service_id": service, "starts_at": noon()});
    stack.post_as(&guest, "/api/reservations", body.clone()).await.expect_problem(503, "unavailable");
    stack.get_as(&guest, "/api/me").await.expect(200);
    let (is_done, said) = scene.copy(&[]).await;
    assert!(!is_done && said.contains("moved: this database was copied"), "{said}");

    let moved = scene.moved().await;
    let backend::database::Db::Postgres(pool) = &moved.db else { panic!("it is PostgreSQL") };
    for id in &booked {
        let sql = "SELECT count(*) FROM reservations WHERE id = $1 AND user_id = $2";
        let count: i64 =
            sqlx::query_scalar(sql).bind(id).bind(&guest.id).fetch_one(pool).await.expect("counted");
        assert_eq!(count, 1, "{id} was acknowledged");
    }
    let found = moved.get(&format!("/api/vendors/{}", vendor.id)).await.expect(200);
    assert_eq!(found["name"], "가게, a 'shop' \u{1F488}");

    // The way back.
    let (is_done, said) = command(&["unseal", &scene.from]).await;
    assert!(is_done, "{said}");
    stack.post_as(&guest, "/api/reservations", body).await.expect(201);
    drop(moved);
}

#[tokio::test]
async fn a_rehearsal_leaves_the_file_as_it_was_and_a_filled_target_is_refused() {
    let scene = Scene::new().await;
    let user = scene.stack.user("user", Role::User).await;
    let (is_done, said) = scene.copy(&["--no-seal"]).await;
    assert!(is_done && said.contains("not sealed"), "{said}");
    let vendor = scene.stack.open_vendor("vendor", "hair").await;
    let room = scene.stack.post_as(&user, "/api/chat/rooms", json!({"vendor_id": vendor.id})).await;
    room.expect(201);
    let (is_done, said) = scene.copy(&[]).await;
    assert!(!is_done && said.contains("the target is not empty"), "{said}");
    scene.stack.open_vendor("another", "hair").await;
    assert_eq!(scene.count_in_target("vendors").await, 0);
}

#[tokio::test]
async fn a_copy_that_fails_keeps_nothing_and_seals_nothing() {
    let scene = Scene::new().await;
    let user = scene.stack.user("user", Role::User).await;
    let rename = async |name: &str| {
        let sql = "UPDATE users SET name = $1 WHERE id = $2";
        write!(&scene.stack.db, |pool| {
            sqlx::query(sql).bind(name).bind(&user.id).execute(pool).await.map(drop).expect("renamed")
        });
    };
    rename("a\u{0}b").await;
    // Tables before it are filled by then.
    let (is_done, said) = scene.copy(&[]).await;
    assert!(!is_done && said.contains("table users: column name") && said.contains(&user.id), "{said}");
    rename("a name").await;

    // A table that only one side has.
    execute(&scene.stack.db, "CREATE TABLE extra (id TEXT NOT NULL PRIMARY KEY)").await;
    let (is_done, said) = scene.copy(&[]).await;
    assert!(!is_done && said.contains("only one side has: extra"), "{said}");
    execute(&scene.stack.db, "DROP TABLE extra").await;

    // A column, likewise.
    scene.execute_in_target("ALTER TABLE users ADD COLUMN extra TEXT").await;
    let (is_done, said) = scene.copy(&[]).await;
    assert!(!is_done && said.contains("table users: the two sides have different columns"), "{said}");
    scene.execute_in_target("ALTER TABLE users DROP COLUMN extra").await;

    assert_eq!(scene.count_in_target("users").await, 0);
    let (is_done, said) = scene.copy(&[]).await;
    assert!(is_done, "{said}");
    assert_eq!(scene.count_in_target("users").await, 1);
}

async fn execute(db: &Db, sql: &'static str) {
    write!(db, |pool| sqlx::query(sql).execute(pool).await.map(drop)).expect("executed");
}

#[tokio::test]
async fn what_cannot_be_copied_is_said_in_a_line() {
    let mut scene = Scene::new().await;
    for (from, to, expected) in [
        (scene.to.as_str(), scene.from.as_str(), "only SQLite is copied, and only to PostgreSQL"),
        ("sqlite:/nowhere/a.db", scene.to.as_str(), "/nowhere/a.db"),
        (scene.from.as_str(), "mysql://u:secret@h/d", "expected `sqlite:`"),
    ] {
        let (is_done, said) = command(&["copy", from, to]).await;
        assert!(!is_done && said.contains(expected) && said.trim().lines().count() == 1, "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    scene.cluster.stop().expect("stopped");
}
