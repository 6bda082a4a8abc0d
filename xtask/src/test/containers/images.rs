//! The images that ours are built upon. Programs that were built on this machine need a system like this machine's:
//! it is fetched from a registry, or made from the distribution's packages where no registry can be reached.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::install;
use crate::terminal;
use crate::test::containers::engine::Engine;
use crate::test::containers::{run_silently, succeeds};
use crate::workspace;

/// Where Linux distributions keep the roots of trust.
const ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";

/// Base images by the build argument that names each.
#[derive(Debug)]
pub(super) struct Bases {
    pub(super) runtime: String,
    pub(super) redis: String,
}

/// Finds or makes both.
pub(super) fn bases(engine: &Engine, folder: &Path) -> anyhow::Result<Bases> {
    let shipped = fs::read_to_string(workspace::root().join("deploy/Dockerfile"))
        .context("cannot read deploy/Dockerfile")?;
    let system =
        System::read(&fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?)?;
    let image = argument(&shipped, "RUNTIME_IMAGE").filter(|image| image.starts_with(&system.image));
    let runtime = [image.unwrap_or(&system.image).to_owned(), format!("daemun-base:{}", system.suite)];
    let runtime = match first_there(engine, &runtime) {
        Some(image) => image,
        None => {
            let [_, local] = runtime;
            make_system(engine, folder, &system, &local)?;
            local
        }
    };
    let redis = argument(&shipped, "REDIS_IMAGE").context("deploy/Dockerfile names no REDIS_IMAGE")?;
    let redis = [redis.to_owned(), format!("daemun-base-redis:{}", system.suite)];
    let redis = match first_there(engine, &redis) {
        Some(image) => image,
        None => {
            let [_, local] = redis;
            make_redis(engine, folder, &runtime, &local)?;
            local
        }
    };
    Ok(Bases { runtime, redis })
}

/// The first of these images that the engine has, else the first that it can fetch.
fn first_there(engine: &Engine, images: &[String]) -> Option<String> {
    let is_there = |image: &&String| succeeds(engine.docker().args(["image", "inspect", image]));
    let can_be_fetched = |image: &&String| {
        // Docker has no time limit of its own for a registry that does not answer.
        let mut command = Command::new("timeout");
        command.args(["300", "docker", "pull", "--quiet", image]).stdin(Stdio::null());
        engine.describe_to(&mut command);
        succeeds(&mut command)
    };
    images.iter().find(is_there).or_else(|| images.first().filter(can_be_fetched)).cloned()
}

/// This machine's distribution.
#[derive(Debug, PartialEq, Eq)]
struct System {
    /// Its official image.
    image: String,
    suite: String,
}

impl System {
    /// Reads it from the text of `/etc/os-release`.
    fn read(release: &str) -> anyhow::Result<Self> {
        let field = |name: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim_matches('"').to_owned()).unwrap_or_default()
        };
        let suite = field("VERSION_CODENAME");
        let image = match field("ID").as_str() {
            "debian" => format!("debian:{suite}-slim"),
            "ubuntu" => format!("ubuntu:{}", field("VERSION_ID")),
            other => bail!("programs built on `{other}` have no image to run in; Debian and Ubuntu have"),
        };
        ensure!(!suite.is_empty(), "/etc/os-release names no release");
        Ok(Self { image, suite })
    }
}

/// The default of an argument of a Dockerfile.
fn argument<'a>(dockerfile: &'a str, name: &str) -> Option<&'a str> {
    let default = |line: &'a str| line.strip_prefix("ARG ")?.strip_prefix(name)?.strip_prefix('=');
    dockerfile.lines().find_map(default).map(str::trim)
}

fn make_system(engine: &Engine, folder: &Path, system: &System, image: &str) -> anyhow::Result<()> {
    terminal::say(&format!("making {image} from packages: {} can't be fetched", system.image));
    install::missing(&[("debootstrap", "debootstrap")])?;
    let root = folder.join("system");
    remove_folder(&root)?;
    let variant = ["--variant=minbase", "--include=ca-certificates"];
    run_silently(Command::new("debootstrap").args(variant).arg(&system.suite).arg(&root))?;
    for rest in ["var/lib/apt/lists", "var/cache/apt"] {
        remove_folder(&root.join(rest))?;
    }
    // This machine may trust more than the package does.
    fs::copy(Path::new("/").join(ROOTS), root.join(ROOTS)).context("cannot copy the roots of trust")?;
    let mut tar = Command::new("tar")
        .args(["--create", "--directory"])
        .arg(&root)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run tar")?;
    let archive = tar.stdout.take().context("tar has no output")?;
    run_silently(engine.docker().args(["import", "-", image]).stdin(archive))?;
    ensure!(tar.wait().context("cannot wait for tar")?.success(), "tar failed");
    remove_folder(&root)
}

fn make_redis(engine: &Engine, folder: &Path, runtime: &str, image: &str) -> anyhow::Result<()> {
    terminal::say(&format!("making {image} from packages: the official one can't be fetched"));
    let context: PathBuf = folder.join("redis");
    fs::create_dir_all(&context).with_context(|| format!("cannot make {}", context.display()))?;
    let install = "apt-get update && apt-get install --yes --no-install-recommends redis-server";
    fs::write(context.join("Dockerfile"), format!("FROM {runtime}\nRUN {install}\n"))
        .context("cannot write a Dockerfile")?;
    run_silently(engine.docker().args(["build", "--quiet", "--tag", image]).arg(&context)).map(drop)
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read_as_distributions_write_it() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        let system = System::read(debian).expect("known");
        assert_eq!((system.image.as_str(), system.suite.as_str()), ("debian:bookworm-slim", "bookworm"));
        let ubuntu = "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\n";
        assert_eq!(System::read(ubuntu).expect("known").image, "ubuntu:24.04");
        let error = System::read("ID=plan9\n").expect_err("unknown").to_string();
        assert!(error.contains("plan9"), "{error}");
    }

    #[test]
    fn the_shipped_dockerfile_pins_its_base_images_by_digest() {
        let shipped = fs::read_to_string(workspace::root().join("deploy/Dockerfile")).expect("it is there");
        for name in ["RUST_IMAGE", "RUNTIME_IMAGE", "REDIS_IMAGE"] {
            let image = argument(&shipped, name).unwrap_or_else(|| panic!("no {name}"));
            let (_, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{image} is not pinned"));
            assert_eq!(digest.len(), 64, "{image}");
        }
    }
}
