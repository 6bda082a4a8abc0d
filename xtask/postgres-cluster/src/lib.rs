//! A PostgreSQL server of one's own for tests: its data in one folder, a socket that nobody else can open, an
//! unprivileged user where we are root, stopped when it is dropped. What it holds doesn't outlive the machine: nothing
//! waits for the disk.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// How long a start or a stop may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The system limits a socket's path (sun_path of unix(7)); PostgreSQL appends its file's name.
const MAX_SOCKET_FOLDER_BYTES: usize = 85;

/// The superuser of the cluster.
pub const USER: &str = "daemun";

/// Its password, for connections by TCP; the socket wants none.
pub const PASSWORD: &str = "a password: with @ & /";

/// Users that the server may run as where we are root, the first that there is.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The port where nobody listens by TCP: it only names the socket.
const SOCKET_PORT: u16 = 5432;

/// A cluster, running or stopped. Dropped, it is stopped and its folder removed.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    settings: Vec<(String, String)>,
    has_tcp: bool,
    port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster in `folder`, or in the system's folder for temporary files where the server's user can't reach
    /// it; what an earlier one left there goes. It isn't started yet.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        let owner = if geteuid().is_root() { Some(unprivileged()?) } else { None };
        let folder = place(folder, owner.is_some());
        let programs = programs()?;
        end_leftover(&folder)?;
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let cluster = Self {
            folder,
            programs,
            owner,
            settings: Vec::new(),
            has_tcp: false,
            port: SOCKET_PORT,
            server: None,
        };
        cluster.give_away(&cluster.folder)?;
        cluster.initialise()?;
        Ok(cluster)
    }

    /// The same with a setting of postgresql.conf.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, listening by TCP on 127.0.0.1 as well, on a port that is free when it is first started.
    #[must_use]
    pub fn with_tcp(mut self) -> Self {
        self.has_tcp = true;
        self
    }

    /// The port by TCP, once it has been started.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where a file for the server may lie; what is put there is handed over with [`give_away`](Self::give_away).
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a file the server's.
    pub fn give_away(&self, path: &Path) -> anyhow::Result<()> {
        let Some((user, group)) = self.owner else { return Ok(()) };
        chown(path, Some(user), Some(group)).with_context(|| format!("giving away {}", path.display()))
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if !self.has_tcp || self.port != SOCKET_PORT {
            return self.try_start();
        }
        // Between being found free and being listened on, a port may be taken.
        for _ in 0..20 {
            self.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            match self.try_start() {
                Err(error) if error.to_string().contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
        bail!("no port stays free for PostgreSQL")
    }

    fn try_start(&mut self) -> anyhow::Result<()> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.folder);
        let listen = if self.has_tcp { "127.0.0.1" } else { "" };
        command.args(["-p", &self.port.to_string(), "-c", &format!("listen_addresses={listen}")]);
        // Nothing of it is to survive a power cut.
        for setting in ["fsync=off", "full_page_writes=off", "max_connections=200", "shared_buffers=64MB"] {
            command.args(["-c", setting]);
        }
        for (name, value) in &self.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        let log = fs::File::create(self.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut server = command.spawn().context("starting PostgreSQL")?;
        let start = Instant::now();
        while !self.is_ready(server.id()) {
            if let Some(status) = server.try_wait()? {
                bail!("PostgreSQL did not start ({status}): {}", self.said());
            }
            if start.elapsed() > PATIENCE {
                self.server = Some(server);
                bail!("PostgreSQL did not start in time: {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Stops the server as an operator does, who doesn't wait for clients; it may be started again.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.end(Signal::INT)
    }

    /// Ends the server without any order, as a crash does.
    pub fn crash(&mut self) -> anyhow::Result<()> {
        self.end(Signal::QUIT)
    }

    /// The address of one of its databases, by the socket.
    pub fn url(&self, database: &str) -> String {
        let escaped = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let socket: String = self.folder.as_os_str().as_bytes().iter().map(escaped).collect();
        format!("postgres://{USER}@{socket}:{}/{database}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn initialise(&self) -> anyhow::Result<()> {
        let password = self.folder.join("password");
        fs::write(&password, PASSWORD)?;
        self.give_away(&password)?;
        let mut command = self.command("initdb");
        command.arg("-D").arg(self.data()).args(["-U", USER, "--encoding=UTF8", "--no-sync"]);
        command.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"]).arg(&password);
        // Text is not ordered by its bytes unless we say so, as on most servers.
        command.arg("--locale=C.UTF-8");
        if self.major() >= 15 {
            command.args(["--locale-provider=icu", "--icu-locale=en"]);
        }
        let output = command.stdin(Stdio::null()).output().context("running initdb")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "initdb failed: {}", said.trim());
        fs::remove_file(password)?;
        Ok(())
    }

    fn major(&self) -> u32 {
        let output = self.command("postgres").arg("--version").output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let version = text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok());
        version.unwrap_or(0)
    }

    /// One of PostgreSQL's programs, as the server's user, without settings from our environment.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.folder);
        for (name, _) in std::env::vars_os() {
            if name.as_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    /// The last line of its lock file says how the server stands.
    fn is_ready(&self, pid: u32) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        text.lines().next().is_some_and(|line| line.trim() == pid.to_string())
            && text.lines().any(|line| line.trim() == "ready")
    }

    fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        kill_process(Pid::from_child(&server), signal)?;
        let start = Instant::now();
        while server.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                server.kill()?;
                server.wait()?;
                bail!("PostgreSQL did not stop in time");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The newest of the system's PostgreSQL servers.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").is_file())
        .max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&path).find(|folder| folder.join("postgres").is_file());
    newest.map(|(_, bin)| bin).or_else(in_path).context("PostgreSQL is not installed")
}

/// User and group of the first unprivileged user there is.
fn unprivileged() -> anyhow::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let find = |name: &&str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(|id| id.parse().ok());
        Some((ids.next()??, ids.next()??))
    };
    UNPRIVILEGED.iter().find_map(find).context("there is no user to run PostgreSQL as")
}

/// `folder`, unless its path is too long for a socket, or others can't pass through those above it.
fn place(folder: &Path, is_for_another: bool) -> PathBuf {
    let is_open = |above: &Path| fs::metadata(above).is_ok_and(|data| data.permissions().mode() & 0o001 != 0);
    let above = folder.ancestors().skip(1).filter(|above| above.exists());
    let is_reachable = !is_for_another || above.into_iter().all(is_open);
    if is_reachable && folder.as_os_str().len() <= MAX_SOCKET_FOLDER_BYTES {
        return folder.to_owned();
    }
    let mut name = OsString::from("daemun-postgres-");
    name.push(std::process::id().to_string());
    name.push("-");
    name.push(folder.file_name().unwrap_or_default());
    std::env::temp_dir().join(name)
}

/// Stops the server of a cluster whose owner was killed: its lock file names it, and its command line the folder.
fn end_leftover(folder: &Path) -> anyhow::Result<()> {
    let data = folder.join("data");
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return Ok(()) };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw)
    else {
        return Ok(());
    };
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let is_ours = || {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let is_named = command.split(|byte| *byte == 0).any(|word| word == data.as_os_str().as_bytes());
        is_named && fs::metadata(&process).is_ok()
    };
    let start = Instant::now();
    while is_ours() {
        ensure!(start.elapsed() < PATIENCE, "an earlier PostgreSQL in {} does not stop", folder.display());
        let _ = kill_process(pid, Signal::INT);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
