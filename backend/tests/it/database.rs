//! What is particular to each kind of database: its server, its files, and the way from one to the other.

mod postgres;

use postgres_cluster::Cluster;

/// A server of a test's own, not started yet.
fn cluster() -> Cluster {
    let name = format!("pg-{}", &uuid::Uuid::now_v7().simple().to_string()[20..]);
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    Cluster::create(&folder).expect("PostgreSQL is installed")
}
