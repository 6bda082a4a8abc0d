//! The bytes of an answer, a chunk at a time: of a file in memory, or read from the disk as the client takes them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::disk::Disk;
use super::stored::Variant;

/// What is given to a client at once of what is in memory: it may take its time for each, not for all together.
const MEMORY_CHUNK_BYTES: usize = 64 * 1024;
/// Read at once for a client, while there is room.
const CHUNK_BYTES: usize = 32 * 1024;
/// Read at once for all others, however many they are.
const SMALL_CHUNK_BYTES: usize = 4 * 1024;
/// What chunks that clients haven't taken yet may take together; `config/budget.toml` counts it.
const CHUNKS_BYTES: usize = 512 * 1024;

/// The rest of a body.
#[derive(Debug)]
pub struct Body(Source);

#[derive(Debug)]
enum Source {
    Nothing,
    /// The variant keeps its room for as long as it is being sent.
    Memory {
        rest: Bytes,
        _of: Arc<Variant>,
    },
    File {
        file: Arc<File>,
        rest: Range<u64>,
        disk: Arc<Disk>,
        chunk: Option<ChunkRoom>,
    },
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self(Source::Nothing)
    }

    pub(super) fn memory(rest: Bytes, of: Arc<Variant>) -> Self {
        Self(Source::Memory { rest, _of: of })
    }

    pub(super) fn file(file: File, rest: Range<u64>, disk: Arc<Disk>) -> Self {
        Self(Source::File { file: Arc::new(file), rest, disk, chunk: None })
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Source::Nothing => true,
            Source::Memory { rest, .. } => rest.is_empty(),
            Source::File { rest, .. } => rest.is_empty(),
        }
    }

    /// The next bytes, once the client has taken the last ones; `None` at the end. An error where the file has become
    /// shorter than was promised.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.is_empty() {
            return Ok(None);
        }
        match &mut self.0 {
            Source::Nothing => Ok(None),
            Source::Memory { rest, .. } => Ok(Some(rest.split_to(rest.len().min(MEMORY_CHUNK_BYTES)))),
            Source::File { file, rest, disk, chunk } => {
                // The last one is with the client now.
                *chunk = None;
                *chunk = disk.chunks.take();
                let most = if chunk.is_some() { CHUNK_BYTES } else { SMALL_CHUNK_BYTES } as u64;
                let (file, at) = (Arc::clone(file), rest.start);
                let length = most.min(rest.end - at) as usize;
                let bytes = disk.run(move || read(&file, at, length)).await??;
                rest.start += bytes.len() as u64;
                Ok(Some(bytes))
            }
        }
    }
}

fn read(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer.into())
}

/// Room for chunks that are on their way.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    taken_bytes: Arc<AtomicUsize>,
}

/// Room for one; free again when it is dropped.
#[derive(Debug)]
struct ChunkRoom(Arc<AtomicUsize>);

impl Chunks {
    fn take(&self) -> Option<ChunkRoom> {
        let with_it = |taken: usize| Some(taken + CHUNK_BYTES).filter(|all| *all <= CHUNKS_BYTES);
        self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_it).ok()?;
        Some(ChunkRoom(Arc::clone(&self.taken_bytes)))
    }
}

impl Drop for ChunkRoom {
    fn drop(&mut self) {
        self.0.fetch_sub(CHUNK_BYTES, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    async fn all(mut body: Body) -> io::Result<(Vec<u8>, usize)> {
        let (mut bytes, mut largest) = (Vec::new(), 0);
        while let Some(chunk) = body.next().await? {
            largest = largest.max(chunk.len());
            bytes.extend(chunk);
        }
        Ok((bytes, largest))
    }

    #[tokio::test]
    async fn a_file_comes_in_chunks_and_only_the_part_that_is_asked_for() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let (read, largest) =
            all(Body::file(file(&bytes), 10..99_999, Arc::default())).await.expect("all of it");
        assert!(read == bytes[10..99_999]);
        assert_eq!(largest, CHUNK_BYTES);
    }

    #[tokio::test]
    async fn chunks_that_many_clients_do_not_take_have_a_bound() {
        let disk = Arc::<Disk>::default();
        let bytes = vec![0; 100_000];
        let mut slow = Vec::new();
        for _ in 0..CHUNKS_BYTES / CHUNK_BYTES + 3 {
            let mut body = Body::file(file(&bytes), 0..100_000, Arc::clone(&disk));
            let chunk = body.next().await.expect("read").expect("a chunk");
            slow.push((body, chunk.len()));
        }
        let small = slow.iter().filter(|(_, length)| *length == SMALL_CHUNK_BYTES).count();
        assert_eq!(small, 3);
        slow.truncate(1);
        let (_, largest) = all(Body::file(file(&bytes), 0..100_000, disk)).await.expect("all of it");
        assert_eq!(largest, CHUNK_BYTES);
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_is_an_error() {
        let open = file(&[0; 100_000]);
        let shorter = open.try_clone().expect("the same file");
        let mut body = Body::file(open, 0..100_000, Arc::default());
        body.next().await.expect("read").expect("a chunk");
        shorter.set_len(50_000).expect("cut");
        assert!(all(body).await.is_err());
    }
}
