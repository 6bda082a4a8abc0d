//! A database of a test's own: a SQLite file, or, where `DAEMUN_TEST_POSTGRES` names a server, a database there. Gone
//! when it is dropped.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

/// Names the server, as a superuser sees it: `postgres://USER@HOST/DATABASE`.
pub const SERVER: &str = "DAEMUN_TEST_POSTGRES";

/// PostgreSQL's schema. Its tests copy a database that has it already.
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/postgres");

/// Taken by whoever makes that database.
const TEMPLATE_LOCK: i64 = 0x6461_656d_756e;

/// A database that is nobody else's.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Sqlite { _folder: TempDir },
    Postgres { server: Url, name: String },
}

impl TestDatabase {
    /// An empty database of the kind that is being tested.
    pub async fn create() -> Self {
        match std::env::var(SERVER) {
            Ok(server) if !server.is_empty() => Self::on(&server).await,
            _ => Self::sqlite(),
        }
    }

    /// A SQLite file, whatever is being tested.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self { url, place: Place::Sqlite { _folder: folder } }
    }

    /// A database with our schema on this server.
    pub async fn on(server: &str) -> Self {
        let server = Url::parse(server).expect("the server's URL");
        let mut connection = connect(&server).await;
        let template = template(&server, &mut connection).await;
        let name = format!("test_{}", Uuid::now_v7().simple());
        execute(&mut connection, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        connection.close().await.expect("closed");
        Self { url: at(&server, &name).into(), place: Place::Postgres { server, name } }
    }

    /// Where it is, as `database.url` says it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether PostgreSQL is being tested.
    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres { .. })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Place::Postgres { server, name } = &self.place else { return };
        let (server, name) = (server.clone(), name.clone());
        // The test's own runtime may be about to end.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                // A test may have stopped the server.
                if let Ok(mut connection) = PgConnection::connect(server.as_str()).await {
                    let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                    let _ = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
                }
            });
        });
        let _ = dropped.join();
    }
}

/// The name of the database to copy, which has the schema of these migrations; made by whoever needs it first.
async fn template(server: &Url, connection: &mut PgConnection) -> String {
    let migrator = Migrator::new(Path::new(MIGRATIONS)).await.expect("the migrations");
    let mut hasher = DefaultHasher::new();
    for migration in migrator.iter() {
        (migration.version, &migration.checksum).hash(&mut hasher);
    }
    let name = format!("template_{:016x}", hasher.finish());
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut *connection)
        .await
        .expect("locked");
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .expect("read");
    if !known {
        let unfinished = format!("{name}_unfinished");
        execute(connection, format!("DROP DATABASE IF EXISTS {unfinished}")).await;
        execute(connection, format!("CREATE DATABASE {unfinished}")).await;
        let mut made = connect(&at(server, &unfinished)).await;
        migrator.run(&mut made).await.expect("migrated");
        made.close().await.expect("closed");
        execute(connection, format!("ALTER DATABASE {unfinished} RENAME TO {name}")).await;
    }
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(connection)
        .await
        .expect("unlocked");
    name
}

async fn connect(url: &Url) -> PgConnection {
    PgConnection::connect(url.as_str()).await.unwrap_or_else(|error| panic!("{SERVER}: {error}"))
}

async fn execute(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("executed");
}

fn at(server: &Url, database: &str) -> Url {
    let mut url = server.clone();
    url.set_path(database);
    url
}
