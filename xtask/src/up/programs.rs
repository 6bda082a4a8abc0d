//! The programs that make up a stack, in the order in which they start.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::process::geteuid;

use crate::state_dir::StateDir;
use crate::up::Gateway;
use crate::up::addresses::Addresses;
use crate::up::health::Probe;
use crate::up::service::Program;

/// What a program's command line and probes depend on.
#[derive(Debug)]
pub(crate) struct Programs<'a> {
    pub(crate) state: &'a StateDir,
    /// The folder that holds the programs.
    pub(crate) bin_dir: &'a Path,
    pub(crate) addresses: &'a Addresses,
    pub(crate) redis_password: &'a str,
    pub(crate) gateway: Gateway,
}

impl Programs<'_> {
    pub(crate) fn redis(&self) -> Program {
        Program {
            name: "redis".into(),
            path: "redis-server".into(),
            arguments: vec![self.config("redis.conf").into()],
            probes: vec![Probe::Redis {
                address: self.addresses.redis,
                password: self.redis_password.to_owned(),
            }],
            stop_stage: 3,
        }
    }

    pub(crate) fn identity_provider(&self) -> Program {
        let address = self.addresses.identity_provider;
        Program {
            name: "identity-provider".into(),
            path: self.bin_dir.join("identity-provider"),
            arguments: vec![
                "--development".into(),
                "--listen".into(),
                address.to_string().into(),
                "--state-dir".into(),
                self.state.path().join("identity-provider").into(),
            ],
            probes: vec![Probe::Http(format!("http://{address}/"))],
            stop_stage: 2,
        }
    }

    /// Both, or however many the edge's configuration names.
    pub(crate) fn backends(&self) -> Vec<Program> {
        let backend = |(index, addresses): (usize, &crate::up::addresses::BackendAddresses)| Program {
            name: backend_name(index),
            path: self.backend(),
            arguments: vec!["run".into(), self.config(&format!("backend-{index}.toml")).into()],
            probes: vec![Probe::Http(format!("http://{}/actuator/health/readiness", addresses.management))],
            stop_stage: 1,
        };
        self.addresses.backends.iter().enumerate().map(backend).collect()
    }

    /// What stands in front.
    pub(crate) fn gateway(&self) -> Program {
        let (path, arguments) = match self.gateway {
            Gateway::Edge => (self.bin_dir.join("edge"), vec!["run".into(), self.config("edge.toml").into()]),
            Gateway::Nginx => {
                let mut arguments: Vec<OsString> = vec!["-p".into(), self.nginx_dir().into()];
                arguments.extend(["-e".into(), "stderr".into(), "-c".into(), self.nginx_conf().into()]);
                // Root's files are not for the user that nginx would become: this is a developer's machine.
                let user = if geteuid().is_root() { " user root;" } else { "" };
                arguments.extend(["-g".into(), format!("daemon off;{user}").into()]);
                ("nginx".into(), arguments)
            }
        };
        Program {
            name: self.gateway.name().into(),
            path,
            arguments,
            probes: vec![
                Probe::Http(format!("http://{}/health", self.addresses.edge_admin)),
                Probe::Tcp(self.addresses.https),
            ],
            stop_stage: 0,
        }
    }

    /// Has the edge print the configuration that makes nginx do what `edge.toml` says.
    pub(crate) fn write_nginx_conf(&self) -> anyhow::Result<()> {
        let output = Command::new(self.bin_dir.join("edge"))
            .arg("nginx")
            .arg(self.config("edge.toml"))
            .args(["--absolute", "--state"])
            .arg(self.nginx_dir())
            .output()
            .context("cannot run the edge")?;
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the policy can't be nginx's: {}", why.trim());
        self.state.folder("nginx").context("cannot make nginx's folder")?;
        fs::write(self.nginx_conf(), output.stdout).context("cannot write nginx's configuration")
    }

    fn nginx_conf(&self) -> PathBuf {
        self.config("nginx.conf")
    }

    fn nginx_dir(&self) -> PathBuf {
        self.state.path().join("nginx")
    }

    /// The backend's program, which also prepares keys and data.
    pub(crate) fn backend(&self) -> PathBuf {
        self.bin_dir.join("backend")
    }

    /// A file of the effective configuration.
    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.state.path().join("config").join(name)
    }
}

/// What the backend with this index is called.
pub(crate) fn backend_name(index: usize) -> String {
    format!("backend-{index}")
}
