//! A container engine: the one that runs, or one that is started here and stopped at the end.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::install;
use crate::terminal;
use crate::test::containers::firewall::Firewall;
use crate::test::containers::{run_silently, succeeds};

/// How long the engine may take to answer, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// What Docker's own command finds beside its configuration.
const PLUGINS: [&str; 2] = ["docker-compose", "docker-buildx"];
/// Debian's first release that has the plugins; its packages run on the one before.
const RELEASE_WITH_PLUGINS: &str = "trixie";

/// An engine that answers.
pub(super) struct Engine {
    /// What Docker's command line is told by its environment.
    environment: Vec<(&'static str, PathBuf)>,
    /// Ours, if none was running.
    _started: Option<Started>,
}

/// An engine that was started here.
struct Started {
    dockerd: Child,
    /// For sockets and the like; short, because a socket's path must be.
    runtime: PathBuf,
    /// The firewall as it was: the engine leaves its rules behind.
    firewall: Firewall,
}

impl Engine {
    /// The engine that runs, or a new one, which keeps its images in `folder` for the next time.
    pub(super) fn find_or_start(folder: &Path) -> anyhow::Result<Self> {
        install::missing(&[("docker", "docker.io")])?;
        let mut engine = Self { environment: Vec::new(), _started: None };
        if !succeeds(engine.docker().arg("info")) {
            let started = Started::start(folder)?;
            let socket = started.socket();
            engine.environment.push(("DOCKER_HOST", format!("unix://{}", socket.display()).into()));
            engine._started = Some(started);
        }
        if !engine.has_plugins() {
            engine.environment.push(("DOCKER_CONFIG", folder.join("docker")));
        }
        if !engine.has_plugins() {
            install_plugins(folder).context("cannot install docker's plugins compose and buildx")?;
            ensure!(engine.has_plugins(), "docker does not find its plugins compose and buildx");
        }
        Ok(engine)
    }

    /// Docker's command line.
    pub(super) fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.stdin(Stdio::null());
        self.describe_to(&mut command);
        command
    }

    /// Tells a command which engine to use.
    pub(super) fn describe_to(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    fn has_plugins(&self) -> bool {
        ["compose", "buildx"].iter().all(|plugin| succeeds(self.docker().args([plugin, "version"])))
    }
}

/// Takes the plugins out of Debian's packages; nothing is installed into the system.
fn install_plugins(folder: &Path) -> anyhow::Result<()> {
    let apt = folder.join("apt");
    for part in ["lists/partial", "cache/archives/partial", "content"] {
        fs::create_dir_all(apt.join(part))?;
    }
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    ensure!(Path::new(key).exists(), "they come from Debian's packages; install them as your system does");
    let source = format!("deb [signed-by={key}] http://deb.debian.org/debian {RELEASE_WITH_PLUGINS} main\n");
    fs::write(apt.join("sources.list"), source)?;
    let apt_get = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        let set = |name: &str, value: &Path| format!("{name}={}", value.display());
        let options = [
            set("Dir::Etc::sourcelist", &apt.join("sources.list")),
            set("Dir::Etc::sourceparts", Path::new("/dev/null")),
            set("Dir::State::lists", &apt.join("lists")),
            set("Dir::Cache", &apt.join("cache")),
        ];
        for option in options {
            command.args(["-o", &option]);
        }
        command.current_dir(&apt);
        run_silently(command.args(words))
    };
    apt_get(&["update"])?;
    apt_get(&[&["download"], PLUGINS.as_slice()].concat())?;
    let plugins = folder.join("docker/cli-plugins");
    fs::create_dir_all(&plugins)?;
    for entry in fs::read_dir(&apt)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            run_silently(Command::new("dpkg").arg("-x").arg(&package).arg(apt.join("content")))?;
        }
    }
    for plugin in PLUGINS {
        let link = plugins.join(plugin);
        let _ = fs::remove_file(&link);
        symlink(apt.join("content/usr/libexec/docker/cli-plugins").join(plugin), link)?;
    }
    Ok(())
}

impl Started {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        if !geteuid().is_root() {
            bail!("no container engine answers, and only root can start one: start docker and try again");
        }
        install::missing(&[
            ("dockerd", "docker.io"),
            ("containerd", "containerd"),
            ("runc", "runc"),
            ("iptables", "iptables"),
        ])?;
        let runtime = PathBuf::from(format!("/tmp/daemun-engine-{}", std::process::id()));
        fs::create_dir_all(&runtime).with_context(|| format!("cannot make {}", runtime.display()))?;
        let log = folder.join("dockerd.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let firewall = Firewall::save();
        let dockerd = Command::new("dockerd")
            .arg("--host")
            .arg(format!("unix://{}", runtime.join("docker.sock").display()))
            .arg("--data-root")
            .arg(folder.join("engine"))
            .arg("--exec-root")
            .arg(runtime.join("exec"))
            .arg("--pidfile")
            .arg(runtime.join("docker.pid"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share the engine's log")?)
            .stderr(output)
            .spawn()
            .context("cannot run dockerd")?;
        let mut started = Self { dockerd, runtime, firewall };
        started.wait_until_it_answers().with_context(|| format!("see {}", log.display()))?;
        Ok(started)
    }

    fn socket(&self) -> PathBuf {
        self.runtime.join("docker.sock")
    }

    fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let host = format!("unix://{}", self.socket().display());
            if succeeds(Command::new("docker").args(["--host", &host, "info"])) {
                return Ok(());
            }
            if let Some(status) = self.dockerd.try_wait().context("cannot wait for dockerd")? {
                bail!("dockerd has ended ({status})");
            }
            sleep(Duration::from_millis(200));
        }
        bail!("dockerd does not answer")
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let pid =
            i32::try_from(self.dockerd.id()).ok().and_then(Pid::from_raw).context("dockerd has no id")?;
        // It ends its containers and its containerd by itself.
        kill_process(pid, Signal::TERM).context("cannot stop dockerd")?;
        let start = Instant::now();
        while self.dockerd.try_wait().context("cannot wait for dockerd")?.is_none() {
            if start.elapsed() > PATIENCE {
                self.dockerd.kill().context("cannot kill dockerd")?;
            }
            sleep(Duration::from_millis(100));
        }
        let _ = Command::new("ip").args(["link", "delete", "docker0"]).output();
        self.firewall.restore()?;
        // The network namespace that containers on the host's network shared.
        let _ = Command::new("umount").arg(self.runtime.join("exec/netns/default")).output();
        fs::remove_dir_all(&self.runtime).with_context(|| format!("cannot remove {}", self.runtime.display()))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            terminal::complain(&format!("error: {error:#}"));
        }
    }
}
