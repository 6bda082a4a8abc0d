//! A stack on PostgreSQL.

use std::path::Path;

use postgres_cluster::{Cluster, PASSWORD, USER};
use reqwest::StatusCode;

use crate::booking::free_slot;
use crate::client::{Person, address};
use crate::stack::Stack;

/// As a URL writes it.
const ENCODED_PASSWORD: &str = "a%20password%3A%20with%20%40%20%26%20%2F";

#[tokio::test]
async fn a_stack_on_postgresql_has_its_data_there_and_says_its_password_nowhere() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("up-{}", std::process::id()));
    let mut cluster = Cluster::create(&folder).expect("PostgreSQL is installed").with_tcp();
    cluster.start().expect("started");
    let port = cluster.port();
    let url = format!("postgres://{USER}:{ENCODED_PASSWORD}@127.0.0.1:{port}/postgres");
    let stack = Stack::with(&["--database", &url]);
    assert_eq!(stack.file.database, format!("postgres://{USER}@127.0.0.1:{port}/postgres"));

    let customer = Person::sign_in(&stack.file, "customer", address(1)).await;
    let found = customer.get("/api/vendors?q=머리숲").await;
    let vendor = found["items"][0]["id"].as_str().expect("a vendor of the demo data").to_owned();
    let slot = free_slot(&customer, &vendor, 1).await;
    let (status, booked) = customer.post("/api/reservations", slot.request).await;
    assert_eq!(status, StatusCode::CREATED, "{booked}");

    let secret = stack.state_dir().join("secrets/database-password");
    assert_eq!(std::fs::read_to_string(&secret).expect("read"), PASSWORD);
    for path in files(stack.state_dir()).iter().filter(|path| **path != secret) {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        assert!(!text.contains(PASSWORD) && !text.contains(ENCODED_PASSWORD), "{}", path.display());
    }
    assert!(!stack.state_dir().join("daemun.db").exists());
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok).map(|entry| entry.path());
    let (folders, mut found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    found.extend(folders.iter().flat_map(|folder| files(folder)));
    found
}
