//! A stack of the history's own, to be mistreated: Redis, a database, two backends as processes.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use backend::auth::keys::{self, SigningKeys};
use backend::auth::tokens::AccessTokens;
use backend::config::Config;
use backend::database::Db;
use clap::ValueEnum;
use postgres_cluster::Cluster;
use rustix::process::Signal;
use tempfile::TempDir;
use toml_edit::{DocumentMut, value};

use crate::api::{Ask, Service};
use crate::child::{Owned, signal, tied};

const SHIPPED: &str = include_str!("../../../config/backend.toml");
const SHIPPED_REDIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/redis.conf");
const REDIS_PASSWORD: &str = "a password of the history";

/// A lock ends by itself so soon that a stopped process outlives it.
const LOCK_MS: i64 = 500;

/// What becomes ready does so within this time, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

const BACKENDS: usize = 2;

/// Which database the backends have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// One backend, which comes back at the same address.
struct Backend {
    config: PathBuf,
    service: Service,
    management: Service,
    process: Option<Owned>,
}

pub(super) struct Ground {
    folder: TempDir,
    binary: PathBuf,
    backends: Vec<Backend>,
    redis: Option<Owned>,
    cluster: Option<Cluster>,
    pub(super) db: Db,
    pub(super) tokens: AccessTokens,
}

impl Ground {
    /// Starts all of it; `binary` is the backend.
    pub(super) async fn start(kind: Kind, binary: &Path) -> anyhow::Result<Self> {
        ensure!(binary.exists(), "{} isn't there: cargo build -p backend", binary.display());
        let folder = tempfile::tempdir()?;
        let (cluster, url) = match kind {
            Kind::Sqlite => (None, format!("sqlite:{}", folder.path().join("history.db").display())),
            Kind::Postgres => {
                let mut cluster = Cluster::create(&folder.path().join("postgres"))?;
                cluster.start()?;
                let url = cluster.url("postgres");
                (Some(cluster), url)
            }
        };
        for sub in ["config", "var/secrets", "web"] {
            fs::create_dir_all(folder.path().join(sub))?;
        }
        fs::write(folder.path().join("var/secrets/redis-password"), REDIS_PASSWORD)?;
        fs::write(folder.path().join("var/secrets/refresh-secret"), "0123456789abcdef".repeat(4))?;
        let mut backends = Vec::new();
        for number in 0..BACKENDS {
            let [api, management] = [free_address()?, free_address()?];
            let config = folder.path().join(format!("config/backend-{number}.toml"));
            fs::write(&config, configuration(folder.path(), &url, &api, &management)?)?;
            let service = Service::parse(&format!("http://{api}"))?;
            let management = Service::parse(&format!("http://{management}"))?;
            backends.push(Backend { config, service, management, process: None });
        }
        keys::init(&backend::config::keys_dir(&backends[0].config)?)?;
        let config = Config::load(&backends[0].config)?;
        let signing_keys = SigningKeys::load(&config.tokens.keys_dir, config.tokens.key_schedule())?;
        let tokens = AccessTokens::new(&config.tokens, signing_keys);
        let db = Db::open(&config.database).await?;
        let binary = binary.to_owned();
        let mut ground = Self { folder, binary, backends, redis: None, cluster, db, tokens };
        ground.start_redis().await?;
        for number in 0..BACKENDS {
            ground.start_backend(number).await?;
        }
        Ok(ground)
    }

    /// Where the backends are.
    pub(super) fn services(&self) -> Vec<Service> {
        self.backends.iter().map(|backend| backend.service.clone()).collect()
    }

    /// `kill -9`: it has no time for anything.
    pub(super) fn kill_backend(&mut self, number: usize) {
        if let Some(process) = &self.backends[number].process {
            signal(process.pid(), Signal::KILL);
        }
        self.backends[number].process = None;
    }

    pub(super) async fn start_backend(&mut self, number: usize) -> anyhow::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let backend = &mut self.backends[number];
        let mut command = tied(&self.binary, "KILL");
        command.arg("run").arg(&backend.config).stdout(log.try_clone()?).stderr(log);
        backend.process = Some(Owned::start(&mut command)?);
        let begin = Instant::now();
        loop {
            if let Ok(mut connection) = backend.management.connect().await
                && connection.ask(&Ask::get("/actuator/health/liveness")).await.is_ok()
                && backend.service.connect().await.is_ok()
            {
                return Ok(());
            }
            let runs = backend.process.as_mut().is_some_and(Owned::runs);
            ensure!(runs, "the backend ended: {}", self.log_end());
            ensure!(begin.elapsed() < PATIENCE, "the backend doesn't answer: {}", self.log_end());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets a backend stand still for a while, with all that it holds.
    pub(super) fn pause_backend(&self, number: usize, pause: bool) {
        if let Some(process) = &self.backends[number].process {
            signal(process.pid(), if pause { Signal::STOP } else { Signal::CONT });
        }
    }

    pub(super) fn kill_redis(&mut self) {
        if let Some(redis) = &self.redis {
            signal(redis.pid(), Signal::KILL);
        }
        self.redis = None;
    }

    pub(super) async fn start_redis(&mut self) -> anyhow::Result<()> {
        let socket = socket(self.folder.path());
        let mut command = Command::new("redis-server");
        command.arg(SHIPPED_REDIS).args(["--port", "0", "--requirepass", REDIS_PASSWORD]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(self.folder.path());
        self.redis = Some(Owned::start(command.stdout(Stdio::null()))?);
        let begin = Instant::now();
        while self.redis_cli(&["PING"]).is_none_or(|answer| answer != "PONG") {
            ensure!(begin.elapsed() < PATIENCE, "redis doesn't answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Forgets everything: locks, sessions, the mark that tokens are known.
    pub(super) fn empty_redis(&self) {
        self.redis_cli(&["FLUSHALL"]);
    }

    /// Restarts PostgreSQL, in order or as a crash does. SQLite has nothing to restart.
    pub(super) fn restart_database(&mut self, crash: bool) -> anyhow::Result<()> {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        if crash {
            cluster.crash()?
        } else {
            cluster.stop()?
        }
        cluster.start()
    }

    /// Lets go of the database's rule, to see it missed.
    pub(super) async fn break_the_rule(&self) -> anyhow::Result<()> {
        let sql = match &self.db {
            Db::Sqlite(_) => {
                "DROP TRIGGER reservations_capacity_on_insert; DROP TRIGGER reservations_capacity_on_update"
            }
            Db::Postgres(_) => {
                "DROP TRIGGER reservations_capacity ON reservations; ALTER TABLE reservations
                ALTER COLUMN busy_from DROP NOT NULL, ALTER COLUMN busy_until DROP NOT NULL"
            }
        };
        backend::write!(&self.db, |pool| sqlx::raw_sql(sql).execute(pool).await.map(drop))?;
        Ok(())
    }

    fn redis_cli(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(socket(self.folder.path()));
        command.args(["--no-auth-warning", "-a", REDIS_PASSWORD]).args(arguments);
        let output = command.stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

/// The shipped configuration with places of the history's own.
fn configuration(folder: &Path, url: &str, api: &str, management: &str) -> anyhow::Result<String> {
    let nobody = |name: &str| (name == "GOOGLE_CLIENT_ID").then(|| "history".to_owned());
    let Ok(text) = config_text::expand(SHIPPED, nobody) else {
        bail!("the shipped configuration asks for more")
    };
    let mut config: DocumentMut = text.parse().context("the shipped configuration")?;
    config["mode"] = value("development");
    config["listen"]["api"] = value(api);
    config["listen"]["management"] = value(management);
    config["shutdown"]["drain_ms"] = value(0);
    config["database"]["url"] = value(url);
    config["redis"]["url"] = value(format!("redis+unix://{}", socket(folder).display()));
    config["reservations"]["lock_ms"] = value(LOCK_MS);
    Ok(config.to_string())
}

/// An address of this machine where nobody listens.
fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
