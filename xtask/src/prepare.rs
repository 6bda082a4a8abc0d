//! `xtask prepare`: the files that containers are given, in one folder for each who may read it. What is there already
//! stays. The development override of the compose file runs it; for production, `--no-certificates` makes the rest.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::state_dir::{self, StateDir};
use crate::{certificates, secrets, terminal};

/// What `prepare` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder to fill: `ca`, `certificates`, `backend`, `redis`, `postgres` below it.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Leave out the development CA and its certificate for localhost.
    #[arg(long)]
    no_certificates: bool,
}

/// Makes what is missing.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let context = || format!("cannot make {}", arguments.dir.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&arguments.dir).with_context(context)?;
    let dir = StateDir::open(Some(&arguments.dir))?;
    let folder = |name: &str| dir.folder(name).with_context(|| format!("cannot make the folder {name}"));
    if !arguments.no_certificates {
        certificates::ensure(&folder("ca")?, &folder("certificates")?)?;
    }
    let redis_password = secrets::ensure(&folder("backend")?)?;
    state_dir::write_private(&folder("redis")?.join("users.acl"), users_acl(&redis_password).as_bytes())?;
    ensure_postgres_password(&folder("postgres")?)?;
    let password = fs::read(dir.path().join("postgres/postgres-password"))
        .context("cannot read PostgreSQL's password")?;
    state_dir::write_private(&folder("backend")?.join("database-password"), &password)?;
    terminal::say(&format!("prepared {}", dir.path().display()));
    Ok(())
}

/// Redis's users. The backends are the default user, and can't change the server's settings; whoever asks after its
/// health can do nothing else.
fn users_acl(password: &str) -> String {
    format!(
        "user default on >{password} ~* &* +@all -@admin\n\
         user health on nopass resetkeys resetchannels -@all +ping\n"
    )
}

/// PostgreSQL's image runs as a user of its own, which must read its password: no other container is given this folder,
/// and the backends have a copy.
fn ensure_postgres_password(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("postgres-password");
    if !path.exists() {
        state_dir::write_private(&path, secrets::random().as_bytes())?;
    }
    for (path, mode) in [(folder, 0o755), (&path, 0o444)] {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(no_certificates: bool) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(&Arguments { dir: folder.path().into(), no_certificates }).expect("it is prepared");
        folder
    }

    fn read(folder: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let folder = prepared(false);
        let files = [
            "ca/ca.pem",
            "certificates/localhost.pem",
            "certificates/localhost-key.pem",
            "backend/redis-password",
            "backend/refresh-secret",
            "redis/users.acl",
            "postgres/postgres-password",
        ];
        let before = files.map(|name| read(&folder, name));
        run(&Arguments { dir: folder.path().into(), no_certificates: false }).expect("it runs again");
        assert_eq!(files.map(|name| read(&folder, name)), before);
    }

    #[test]
    fn redis_knows_the_password_that_the_backends_are_given() {
        let folder = prepared(true);
        let password = read(&folder, "backend/redis-password");
        assert!(read(&folder, "redis/users.acl").contains(&format!("user default on >{password} ")));
        assert!(!folder.path().join("certificates").exists());
    }

    #[test]
    fn postgresql_wants_the_password_that_the_backends_are_given() {
        let folder = prepared(true);
        assert_eq!(read(&folder, "backend/database-password"), read(&folder, "postgres/postgres-password"));
    }

    #[test]
    fn files_are_their_readers_only() {
        let folder = prepared(false);
        for name in
            ["ca/ca-key.pem", "certificates/localhost-key.pem", "backend/redis-password", "redis/users.acl"]
        {
            let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
            let path = folder.path().join(name);
            assert_eq!(mode(&path), 0o600, "{name}");
            assert_eq!(mode(path.parent().expect("a folder")), 0o700, "{name}");
        }
    }
}
