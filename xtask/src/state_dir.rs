//! The folder that holds all that a stack writes: its layout, and how files in it are written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::workspace;

/// A stack's folder, as an absolute path without symbolic links, so that a process that names it can be told.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens `path`, making it if it is missing; `var/` in the workspace if none is given.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let path = path.map_or_else(|| workspace::root().join("var"), Path::to_path_buf);
        let context = || format!("cannot use {} as state directory", path.display());
        // Names, messages and keys are in it: its owner only.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).with_context(context)?;
        Ok(Self { path: path.canonicalize().with_context(context)? })
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made if it is missing, for its owner only.
    pub(crate) fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    }

    /// Held as long as a supervisor runs.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Where a stack that is ready describes itself.
    pub(crate) fn stack_file(&self) -> PathBuf {
        self.path.join("stack.json")
    }

    /// The processes that a supervisor has started, for the one that comes after a killed one.
    pub(crate) fn processes_file(&self) -> PathBuf {
        self.path.join("processes.json")
    }

    /// Where the output of a process goes.
    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        self.path.join("log").join(format!("{name}.log"))
    }
}

/// Replaces the file at `path` at once, so that no reader sees half of it. Only its owner may read it.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("draft");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file that may already be gone.
pub(crate) fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_file_is_its_owners_only_and_leaves_no_draft() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("secret");
        write_private(&path, b"one").expect("it is written");
        write_private(&path, b"two").expect("it is replaced");
        assert_eq!(fs::read(&path).expect("it is there"), b"two");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder is there").count(), 1);
    }
}
