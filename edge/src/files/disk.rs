//! The disk: what a path leads to there, off the threads that serve, and not many at once.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::body::Chunks;
use crate::config::Coding;

/// A disk may be slow; who waits for it waits in a queue, not each with a thread.
const TURNS: usize = 8;

const INDEX: &str = "index.html";

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Disk {
    turns: Arc<Semaphore>,
    pub(super) chunks: Chunks,
}

impl Default for Disk {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(TURNS)), chunks: Chunks::default() }
    }
}

impl Disk {
    /// Does some work of the disk's. The turn lasts as long as the work, also when nobody waits for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(io::Error::other)?;
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        task.await.map_err(io::Error::other)
    }
}

/// A file that a path leads to, and the same in other codings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) file: PathBuf,
    pub(super) stamp: Stamp,
    /// In the order of [`Coding::ALL`].
    pub(super) siblings: [Option<(PathBuf, Stamp)>; Coding::ALL.len()],
    /// Whether it is a folder's page, and was asked for without a slash at the end.
    pub(super) lacks_slash: bool,
}

/// By which a file is known to be as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) length: u64,
    pub(super) modified: Option<SystemTime>,
    inode: u64,
}

/// Why no file is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// None is there.
    Nothing,
    /// It is a folder's page, which has a slash at its end.
    Slash,
}

/// The file of a canonical path below `folder`; a folder's own page is its `index.html`.
pub(super) fn find(folder: &Path, path: &str, may_redirect: bool) -> Result<Found, Missing> {
    let nothing = |_| Missing::Nothing;
    let root = folder.canonicalize().map_err(nothing)?;
    let mut file = inside(&root, &below(&root, path).ok_or(Missing::Nothing)?)?;
    let has_slash = path.ends_with('/');
    let lacks_slash = file.is_dir() && !has_slash;
    if file.is_dir() {
        file = inside(&root, &file.join(INDEX))?;
        if lacks_slash && may_redirect && file.is_file() {
            return Err(Missing::Slash);
        }
    } else if has_slash {
        return Err(Missing::Nothing);
    }
    let stamp = Stamp::of(&file.metadata().map_err(nothing)?).ok_or(Missing::Nothing)?;
    let siblings = Coding::ALL.map(|coding| sibling(&root, &file, stamp, coding));
    Ok(Found { file, stamp, siblings, lacks_slash })
}

/// Where the file of a path would be. `None` for hidden files and for names that no file of ours has.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let mut wanted = root.to_owned();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        // The canonical path has no dot segments; what begins with a dot is hidden, and what is still encoded
        // is no name that we give to files.
        if segment.starts_with('.') || segment.contains('%') {
            return None;
        }
        wanted.push(segment);
    }
    Some(wanted)
}

/// A symlink may point anywhere; what it leads to must still be inside, and not hidden.
fn inside(root: &Path, wanted: &Path) -> Result<PathBuf, Missing> {
    let file = wanted.canonicalize().map_err(|_| Missing::Nothing)?;
    let below = file.strip_prefix(root).map_err(|_| Missing::Nothing)?;
    let is_hidden = below.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
    if is_hidden { Err(Missing::Nothing) } else { Ok(file) }
}

/// One that is older than its source is of another source.
fn sibling(root: &Path, file: &Path, source: Stamp, coding: Coding) -> Option<(PathBuf, Stamp)> {
    let extension = match coding {
        Coding::Brotli => ".br",
        Coding::Zstd => ".zst",
        Coding::Gzip => ".gz",
    };
    let mut name = file.as_os_str().to_owned();
    name.push(extension);
    let sibling = inside(root, Path::new(&name)).ok()?;
    let stamp = Stamp::of(&sibling.metadata().ok()?)?;
    (stamp.modified >= source.modified).then_some((sibling, stamp))
}

/// Opens a file, if it is still the one that was found.
pub(super) fn open(file: &Path, stamp: Stamp) -> io::Result<Option<File>> {
    let file = File::open(file)?;
    let now = Stamp::of(&file.metadata()?);
    Ok((now == Some(stamp)).then_some(file))
}

impl Stamp {
    /// `None` for what is no file.
    fn of(metadata: &Metadata) -> Option<Self> {
        let (length, inode) = (metadata.len(), metadata.ino());
        metadata.is_file().then(|| Self { length, modified: metadata.modified().ok(), inode })
    }
}
