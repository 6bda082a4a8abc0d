//! Small files in memory, within a bound of bytes; when it is reached, those that weren't asked for the longest go. Readers
//! share the lock, and it is held for a look into a map; only a file that isn't there yet is written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::stored::Entry;

/// How long what was looked at on the disk is taken to be so: an edit shows within a second.
const FRESH_MS: u64 = 500;

#[derive(Debug)]
pub(super) struct Cache {
    kept: RwLock<Kept>,
    began: Instant,
}

#[derive(Debug, Default)]
struct Kept {
    /// By folder, then by path: nothing has to be put together to look a file up.
    folders: HashMap<PathBuf, HashMap<Box<str>, Slot>>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    bytes: usize,
    checked_ms: AtomicU64,
    used_ms: AtomicU64,
}

/// What is kept of a file.
#[derive(Debug)]
pub(super) enum Known {
    /// It is so.
    Fresh(Arc<Entry>),
    /// Who was told this looks at the disk again; meanwhile the others take it as it is.
    Stale(Arc<Entry>),
    /// Nothing.
    Nothing,
}

impl Default for Cache {
    fn default() -> Self {
        Self { kept: RwLock::default(), began: Instant::now() }
    }
}

impl Cache {
    pub(super) fn get(&self, folder: &Path, path: &str) -> Known {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = kept.folders.get(folder).and_then(|paths| paths.get(path)) else {
            return Known::Nothing;
        };
        let now = self.now_ms();
        slot.used_ms.store(now, Ordering::Relaxed);
        let checked = slot.checked_ms.load(Ordering::Relaxed);
        let entry = Arc::clone(&slot.entry);
        let is_stale = now.saturating_sub(checked) >= FRESH_MS;
        let mine = || slot.checked_ms.compare_exchange(checked, now, Ordering::Relaxed, Ordering::Relaxed);
        if is_stale && mine().is_ok() { Known::Stale(entry) } else { Known::Fresh(entry) }
    }

    /// Keeps a file that was looked at just now.
    pub(super) fn put(&self, folder: &Path, path: &str, entry: Arc<Entry>, limit_bytes: usize) {
        let (bytes, now) = (entry.bytes(), self.now_ms());
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.remove(folder, path);
        if bytes > limit_bytes {
            return;
        }
        while kept.bytes + bytes > limit_bytes && kept.remove_oldest() {}
        let slot = Slot { entry, bytes, checked_ms: now.into(), used_ms: now.into() };
        kept.bytes += bytes;
        if !kept.folders.contains_key(folder) {
            kept.folders.insert(folder.to_owned(), HashMap::new());
        }
        if let Some(paths) = kept.folders.get_mut(folder) {
            paths.insert(path.into(), slot);
        }
    }

    /// The file isn't there any more.
    pub(super) fn remove(&self, folder: &Path, path: &str) {
        self.kept.write().unwrap_or_else(PoisonError::into_inner).remove(folder, path);
    }

    /// What all that is kept takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).bytes
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Kept {
    fn remove(&mut self, folder: &Path, path: &str) {
        let Some(paths) = self.folders.get_mut(folder) else { return };
        if let Some(slot) = paths.remove(path) {
            self.bytes -= slot.bytes;
        }
        if paths.is_empty() {
            self.folders.remove(folder);
        }
    }

    fn remove_oldest(&mut self) -> bool {
        let all =
            self.folders.iter().flat_map(|(folder, paths)| paths.iter().map(move |path| (folder, path)));
        let oldest = all.min_by_key(|(_, (_, slot))| slot.used_ms.load(Ordering::Relaxed));
        let Some((folder, path)) = oldest.map(|(folder, (path, _))| (folder.clone(), path.clone())) else {
            return false;
        };
        self.remove(&folder, &path);
        true
    }
}
