//! `cargo xtask up`: from a fresh clone to a running stack, and then watching over it.
//!
//! `detach`, `supervisor → service → {backoff, log, health}`, `programs → addresses`, `effective_config → addresses`,
//! `database`, `stack_file`, `announce`

mod addresses;
mod announce;
mod backoff;
mod database;
mod detach;
mod effective_config;
mod health;
mod log;
mod programs;
mod service;
mod stack_file;
mod supervisor;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::lock::{Attempt, Lock};
use crate::state_dir::StateDir;
use crate::up::database::{Database, DatabaseUrl};
use crate::up::effective_config::EffectiveConfig;
use crate::up::programs::{Programs, backend_name};
use crate::up::stack_file::{Backend, Stack};
use crate::up::supervisor::{Interrupted, Supervisor};
use crate::{certificates, install, orphans, secrets, terminal, workspace};

/// What `up` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder for all that the stack writes; `var/` in the workspace by default.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Added to every port, so that several stacks can run side by side.
    #[arg(long, value_name = "N", default_value_t = 0)]
    port_offset: u16,
    /// What stands in front: the edge, or nginx with the same policy.
    #[arg(long, value_enum, default_value_t)]
    gateway: Gateway,
    /// The database, instead of a SQLite file of the stack's own: postgres://USER@HOST/DATABASE, or sqlite:PATH.
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseUrl>,
    /// The file that holds its password.
    #[arg(long, value_name = "FILE", requires = "database")]
    database_password_file: Option<PathBuf>,
    /// Return once the stack is ready; `cargo xtask down` stops it.
    #[arg(long)]
    detach: bool,
    /// Take the programs from this folder instead of building them.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// This is the supervisor that `--detach` has started.
    #[arg(long, hide = true, conflicts_with = "detach")]
    in_background: bool,
}

/// What stands in front of the backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gateway {
    /// Daemun's own.
    #[default]
    Edge,
    /// The fallback.
    Nginx,
}

impl Gateway {
    /// On a command line, and among the processes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Nginx => "nginx",
        }
    }
}

impl Arguments {
    /// The arguments of a supervisor in the background that does what these say.
    fn of_supervisor(&self, state: &StateDir, database: Option<&Database>) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["up".into(), "--in-background".into()];
        arguments.extend(["--state-dir".into(), state.path().into()]);
        arguments.extend(["--port-offset".into(), self.port_offset.to_string().into()]);
        arguments.extend(["--gateway".into(), self.gateway.name().into()]);
        if let Some(Database { url, password_file }) = database {
            arguments.extend(["--database".into(), url.into()]);
            if let Some(file) = password_file {
                arguments.extend(["--database-password-file".into(), file.into()]);
            }
        }
        if let Some(bin_dir) = &self.bin_dir {
            arguments.extend(["--bin-dir".into(), bin_dir.into()]);
        }
        arguments
    }
}

/// Runs a stack until it is asked to stop.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state = StateDir::open(arguments.state_dir.as_deref())?;
    let password_file = arguments.database_password_file.as_deref();
    let database = arguments.database.as_ref();
    let database = database.map(|url| Database::prepare(url, password_file, &state)).transpose()?;
    if arguments.detach {
        return detach::run(&arguments.of_supervisor(&state, database.as_ref()), &state);
    }
    if arguments.in_background {
        detach::leave_session()?;
    }
    let _lock = take_lock(&state)?;
    orphans::end_all(&state)?;
    let config = EffectiveConfig::derive(&state, arguments.port_offset, database.as_ref())?;
    config.addresses.ensure_free()?;
    match arguments.gateway {
        Gateway::Edge => install::missing_programs()?,
        Gateway::Nginx => install::missing_programs_with_nginx()?,
    }
    let bin_dir = match &arguments.bin_dir {
        Some(folder) => folder.canonicalize().with_context(|| format!("cannot use {}", folder.display()))?,
        None => step("built", workspace::build_programs)?,
    };
    let secrets_dir = state.folder("secrets").context("cannot make the folder of the secrets")?;
    let redis_password = secrets::ensure(&secrets_dir)?;
    step("prepared certificates and configuration", || {
        let folder = state.folder("certs").context("cannot make the folder of the certificates")?;
        certificates::ensure(&folder, &folder)?;
        config.write(&state, &redis_password)
    })?;
    let programs = Programs {
        state: &state,
        bin_dir: &bin_dir,
        addresses: &config.addresses,
        redis_password: &redis_password,
        gateway: arguments.gateway,
    };
    let mut supervisor = Supervisor::new(state.clone(), arguments.in_background)?;
    let outcome = start_and_watch(&mut supervisor, &programs, config.database()?, arguments.in_background);
    terminal::say("stopping");
    let file_removed = Stack::remove(&state);
    supervisor.stop();
    orphans::note(&state, &[])?;
    match outcome {
        Err(error) if !error.is::<Interrupted>() => Err(error),
        _ => file_removed.map(|()| ExitCode::SUCCESS),
    }
}

/// Locks the state directory, or says who runs there. The file of a stack that was killed goes before our id
/// stands in the lock: whoever sees both knows that the stack is ours.
fn take_lock(state: &StateDir) -> anyhow::Result<Lock> {
    match Lock::try_take(state, || Stack::remove(state))? {
        Attempt::Taken(lock) => Ok(lock),
        Attempt::HeldBy(pid) => {
            let place = Stack::read(state).map_or_else(|| "not ready yet".to_owned(), |stack| stack.https);
            bail!("already running (pid {pid}): {place}")
        }
    }
}

fn start_and_watch(
    supervisor: &mut Supervisor,
    programs: &Programs<'_>,
    database: &str,
    in_background: bool,
) -> anyhow::Result<()> {
    start(supervisor, programs)?;
    let mut stack = describe(programs, database);
    update_pids(&mut stack, supervisor);
    stack.write(programs.state)?;
    if !in_background {
        announce::ready(&stack);
        terminal::say("Ctrl-C stops it");
    }
    supervisor.watch(|supervisor| {
        update_pids(&mut stack, supervisor);
        stack.write(programs.state)
    })
}

/// Starts everything, in the order in which one needs the other.
fn start(supervisor: &mut Supervisor, programs: &Programs<'_>) -> anyhow::Result<()> {
    let backend = |arguments: &[&Path]| {
        let mut command = service::command(programs.state, "prepare", &programs.backend())?;
        command.args(arguments);
        anyhow::Ok(command)
    };
    let config = programs.config("backend-0.toml");
    step("made signing keys", || {
        let command = backend(&[Path::new("keys"), Path::new("init"), &config])?;
        supervisor.run_command("prepare", command)
    })?;
    let [redis, identity_provider] = [programs.redis(), programs.identity_provider()];
    for program in [redis, identity_provider].into_iter().chain(programs.backends()) {
        step(&format!("started {}", program.name), || supervisor.start(program))?;
    }
    step("loaded demo data", || {
        let demo = workspace::root().join("config/demo");
        supervisor.run_command("prepare", backend(&[Path::new("demo-data"), &config, &demo])?)
    })?;
    let gateway = programs.gateway;
    if gateway == Gateway::Nginx {
        step("wrote nginx's configuration", || programs.write_nginx_conf())?;
    }
    step(&format!("started {}", gateway.name()), || supervisor.start(programs.gateway()))
}

fn describe(programs: &Programs<'_>, database: &str) -> Stack {
    let Programs { state, addresses, redis_password, .. } = programs;
    let backend = |backend: &addresses::BackendAddresses| Backend {
        api: format!("http://{}", backend.api),
        management: format!("http://{}", backend.management),
        pid: 0,
    };
    Stack {
        https: format!("https://localhost:{}", addresses.https.port()),
        http: format!("http://localhost:{}", addresses.http.port()),
        ca: certificates::ca_file(&state.path().join("certs")).to_string_lossy().into_owned(),
        edge_admin: format!("http://{}", addresses.edge_admin),
        backends: addresses.backends.iter().map(backend).collect(),
        redis: format!("redis://:{redis_password}@{}", addresses.redis),
        database: database.to_owned(),
        identity_provider: format!("http://{}", addresses.identity_provider),
        pids: [].into(),
    }
}

/// Puts in the processes that run. One that is about to be started again keeps its old id until then.
fn update_pids(stack: &mut Stack, supervisor: &Supervisor) {
    for (index, backend) in stack.backends.iter_mut().enumerate() {
        backend.pid = supervisor.pid(&backend_name(index)).unwrap_or(backend.pid);
    }
    for (key, name) in
        [("edge", "edge"), ("nginx", "nginx"), ("redis", "redis"), ("identity_provider", "identity-provider")]
    {
        if let Some(pid) = supervisor.pid(name) {
            stack.pids.insert(key.to_owned(), pid);
        }
    }
}

/// Does one step and says how long it took.
fn step<T>(done: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    let result = work()?;
    terminal::say(&format!("{done} ({:.1} s)", start.elapsed().as_secs_f64()));
    Ok(result)
}
