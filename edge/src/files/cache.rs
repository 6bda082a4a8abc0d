//! Small files in memory, within a bound of bytes: those that are kept, and those that are still being sent. When it is
//! reached, what wasn't asked for the longest goes. Readers share the lock, and it is held for a look into a map; only a
//! file that isn't there yet is written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::stored::Entry;

/// How long what was looked at on the disk is taken to be so: an edit shows within a second.
const FRESH_MS: u64 = 500;
/// What a file takes beside its contents, counted generously: paths, fields, its places in maps.
const ENTRY_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Cache {
    /// By folder, then by path: nothing has to be put together to look a file up.
    kept: RwLock<HashMap<PathBuf, Paths>>,
    taken_bytes: Arc<AtomicUsize>,
    began: Instant,
}

type Paths = HashMap<Box<str>, Slot>;

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    checked_ms: AtomicU64,
    used_ms: AtomicU64,
    _room: Room,
}

/// Room for some bytes; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    taken_bytes: Arc<AtomicUsize>,
    bytes: usize,
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
        Self { kept: RwLock::default(), taken_bytes: Arc::default(), began: Instant::now() }
    }
}

impl Cache {
    pub(super) fn get(&self, folder: &Path, path: &str) -> Known {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = kept.get(folder).and_then(|paths| paths.get(path)) else {
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

    /// Keeps a file that was looked at just now, if there is room.
    pub(super) fn put(&self, folder: &Path, path: &str, entry: Arc<Entry>, limit_bytes: usize) {
        self.remove(folder, path);
        let Some(room) = self.room(ENTRY_BYTES, limit_bytes) else { return };
        let now = self.now_ms();
        let slot = Slot { entry, checked_ms: now.into(), used_ms: now.into(), _room: room };
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains_key(folder) {
            kept.insert(folder.to_owned(), Paths::new());
        }
        if let Some(paths) = kept.get_mut(folder) {
            paths.insert(path.into(), slot);
        }
    }

    /// The file isn't there any more, or isn't kept.
    pub(super) fn remove(&self, folder: &Path, path: &str) {
        remove(&mut self.kept.write().unwrap_or_else(PoisonError::into_inner), folder, path);
    }

    /// Room for a content; what is kept makes some, what is being sent can't.
    pub(super) fn room(&self, bytes: usize, limit_bytes: usize) -> Option<Room> {
        let with_it = |taken: usize| Some(taken + bytes).filter(|all| *all <= limit_bytes);
        while self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_it).is_err() {
            if bytes > limit_bytes || !self.remove_oldest() {
                return None;
            }
        }
        Some(Room { taken_bytes: Arc::clone(&self.taken_bytes), bytes })
    }

    fn remove_oldest(&self) -> bool {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let all = kept.iter().flat_map(|(folder, paths)| paths.iter().map(move |path| (folder, path)));
        let idle =
            all.filter(|(_, (_, slot))| Arc::strong_count(&slot.entry) == 1 && !slot.entry.is_being_sent());
        let oldest = idle.min_by_key(|(_, (_, slot))| slot.used_ms.load(Ordering::Relaxed));
        let Some((folder, path)) = oldest.map(|(folder, (path, _))| (folder.clone(), path.clone())) else {
            return false;
        };
        remove(&mut kept, &folder, &path);
        true
    }

    /// What all that is kept or being sent takes.
    #[cfg(test)]
    pub(super) fn taken_bytes(&self) -> usize {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn remove(kept: &mut HashMap<PathBuf, Paths>, folder: &Path, path: &str) {
    let Some(paths) = kept.get_mut(folder) else { return };
    paths.remove(path);
    if paths.is_empty() {
        kept.remove(folder);
    }
}

impl Room {
    /// It turned out that less is needed.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.taken_bytes.fetch_sub(less, Ordering::Relaxed);
        self.bytes -= less;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
