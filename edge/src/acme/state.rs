//! The folder that outlives a process and that edges share: what is where, who may write, and how.
//!
//! ```text
//! account-CA.json               who we are to a CA, with the account's key
//! certificates/HOST.pem         the certificate in use: its key, then the chain
//! attempts/HOST.json            failures in a row, and the pause after them
//! answers/http-01/TOKEN         what an order under way is proven with
//! answers/tls-alpn-01/HOST.pem
//! lock                          held by the edge that orders; only that one writes
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

/// The shared folder. A clone is cheap and names the same folder.
#[derive(Clone)]
pub(super) struct StateFolder {
    root: Arc<Path>,
}

impl StateFolder {
    /// Opens the folder and makes what is missing of it, for nobody else to read.
    pub(super) fn open(root: &Path) -> anyhow::Result<Self> {
        let state = Self { root: root.into() };
        for folder in
            [state.certificates(), state.attempts_folder(), state.http_answers(), state.alpn_answers()]
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .with_context(|| format!("{} can't be made", folder.display()))?;
        }
        Ok(state)
    }

    /// The account at a CA; each directory URL has its own, so that a try with a staging CA costs no account.
    pub(super) fn account(&self, directory: &str) -> PathBuf {
        let plain = |byte: char| if byte.is_ascii_alphanumeric() || byte == '.' { byte } else { '-' };
        let name: String = directory.trim_start_matches("https://").chars().map(plain).collect();
        self.root.join(format!("account-{name}.json"))
    }

    pub(super) fn certificate(&self, host: &str) -> PathBuf {
        self.certificates().join(format!("{host}.pem"))
    }

    pub(super) fn attempts(&self, host: &str) -> PathBuf {
        self.attempts_folder().join(format!("{host}.json"))
    }

    pub(super) fn http_answers(&self) -> PathBuf {
        self.root.join("answers/http-01")
    }

    pub(super) fn alpn_answers(&self) -> PathBuf {
        self.root.join("answers/tls-alpn-01")
    }

    fn certificates(&self) -> PathBuf {
        self.root.join("certificates")
    }

    fn attempts_folder(&self) -> PathBuf {
        self.root.join("attempts")
    }

    /// The right to order and to write here, until the file is dropped; nothing while another has it.
    ///
    /// The kernel frees it when its holder dies, so a crash leaves no lock behind.
    pub(super) fn try_lock(&self) -> io::Result<Option<File>> {
        let file = private().write(true).open(self.root.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Replaces a file of this folder by one rename, after the new content is on the disk: a reader sees the old
    /// one or the new one, also after a power cut.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        // Only the lock's holder writes: one name for what is unfinished is enough, and a crash leaves one at most.
        let unfinished = self.root.join("unfinished");
        let mut file = private().write(true).truncate(true).open(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(path.parent().unwrap_or(&self.root))?.sync_all()
    }
}

/// A file that its owner alone may read and write.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

/// A file's text, or nothing where there is no such file.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    absent(fs::read_to_string(path))
}

/// Removes a file; it is no fault that there is none.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    absent(fs::remove_file(path)).map(|_| ())
}

fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_at_a_time_holds_the_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path()).expect("a state folder");
        let held = state.try_lock().expect("a lock file");
        assert!(held.is_some());
        assert!(state.try_lock().expect("a lock file").is_none());
        drop(held);
        assert!(state.try_lock().expect("a lock file").is_some());
    }

    #[test]
    fn what_is_written_is_for_nobody_else_to_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(&folder.path().join("state")).expect("a state folder");
        let file = state.certificate("a.example");
        state.write(&file, b"a key").expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().expect("a folder")), 0o700);
        assert_eq!(mode(&folder.path().join("state")), 0o700);
    }

    #[test]
    fn each_ca_has_its_own_account() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path()).expect("a state folder");
        let name = |directory| state.account(directory).file_name().expect("a name").to_owned();
        assert_eq!(name("https://ca.example:14000/dir"), "account-ca.example-14000-dir.json");
        assert_ne!(name("https://ca.example/dir"), name("https://staging.ca.example/dir"));
    }
}
