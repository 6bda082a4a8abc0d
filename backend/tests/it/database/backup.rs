//! Copies of a SQLite file that is in use.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use access_token::Role;
use sqlx::{Connection as _, SqliteConnection};
use test_database::TestDatabase;
use tokio_util::sync::CancellationToken;

use super::{book_until, cluster, command, stack_on_sqlite};

#[tokio::test]
async fn a_backup_that_is_made_while_bookings_are_made_holds_each_of_them_whole_or_not_at_all() {
    let database = TestDatabase::sqlite();
    let stack = stack_on_sqlite(&database).await;
    let user = stack.user("user", Role::User).await;
    let vendor = stack.open_vendor("vendor", "hair").await;
    let service = stack.service(&vendor, 1_000_000).await;
    let config = stack.folder().join("config/backend.toml");
    let (stop, config) = (CancellationToken::new(), config.to_str().expect("text").to_owned());
    let copies = async {
        let mut found = Vec::new();
        for n in 0..3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let file = stack.folder().join(format!("backup-{n}.db"));
            let path = file.to_str().expect("text");
            let (is_done, said) = command(&["backup", &config, path]).await;
            assert!(is_done, "{said}");
            assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
            found.push(count_bookings_and_keys(path).await);
        }
        stop.cancel();
        found
    };
    let (booked, copies) = tokio::join!(book_until(&stack, &user, &service, &stop), copies);
    assert!(copies.is_sorted() && copies[0] < copies[2], "bookings were made meanwhile: {copies:?}");
    for (bookings, keys) in copies {
        assert_eq!(bookings, keys, "each comes with its key, in one transaction");
        assert!(bookings <= i64::try_from(booked.len()).expect("few"));
    }
}

async fn count_bookings_and_keys(path: &str) -> (i64, i64) {
    let mut copy = SqliteConnection::connect(&format!("sqlite:{path}")).await.expect("opened");
    let sql = "SELECT (SELECT count(*) FROM reservations), (SELECT count(*) FROM idempotency_keys)";
    sqlx::query_as(sql).fetch_one(&mut copy).await.expect("counted")
}

#[tokio::test]
async fn a_backup_overwrites_nothing() {
    let database = TestDatabase::sqlite();
    let stack = stack_on_sqlite(&database).await;
    let config = stack.folder().join("config/backend.toml");
    let file = stack.folder().join("there");
    std::fs::write(&file, "what was there").expect("written");
    let paths = [&config, &file].map(|path| path.to_str().expect("text"));
    let (is_done, said) = command(&["backup", paths[0], paths[1]]).await;
    assert!(!is_done && said.contains("exists"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), "what was there");
}

#[tokio::test]
async fn a_server_is_backed_up_with_its_own_tool() {
    let database = TestDatabase::sqlite();
    let stack = stack_on_sqlite(&database).await;
    let config = stack.folder().join("config/backend.toml");
    let text = std::fs::read_to_string(&config).expect("read");
    let mut table: toml::Table = text.parse().expect("a configuration");
    table["database"]["url"] = cluster().url("postgres").into();
    std::fs::write(&config, table.to_string()).expect("written");
    let (is_done, said) = command(&["backup", config.to_str().expect("text"), "never-made"]).await;
    assert!(!is_done && said.contains("pg_dump") && said.lines().count() == 1, "{said}");
}
