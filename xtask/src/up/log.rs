//! The files that the processes' output goes to.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use anyhow::Context;

use crate::state_dir::StateDir;

/// A longer file becomes the old one; only one old one is kept.
const MAX_BYTES: u64 = 10 * 1024 * 1024;

/// How much of a file's end is looked at for its last lines.
const TAIL_BYTES: u64 = 64 * 1024;

/// Opens the file of a process, to be added to.
pub(crate) fn open(state: &StateDir, name: &str) -> anyhow::Result<File> {
    let path = state.log_file(name);
    state
        .folder("log")
        .and_then(|_| rotate(&path))
        .and_then(|()| OpenOptions::new().create(true).append(true).open(&path))
        .with_context(|| format!("cannot open {}", path.display()))
}

fn rotate(path: &Path) -> std::io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => fs::rename(path, path.with_extension("log.1")),
        _ => Ok(()),
    }
}

/// Sets aside what a running process has written once it is too long: the process goes on adding to the same file.
pub(crate) fn cut(state: &StateDir, name: &str) -> anyhow::Result<()> {
    let path = state.log_file(name);
    let cut = || -> std::io::Result<()> {
        if fs::metadata(&path)?.len() > MAX_BYTES {
            fs::copy(&path, path.with_extension("log.1"))?;
            OpenOptions::new().write(true).open(&path)?.set_len(0)?;
        }
        Ok(())
    };
    cut().with_context(|| format!("cannot cut {}", path.display()))
}

/// The last lines of a process's file; none if it can't be read.
pub(crate) fn last_lines(state: &StateDir, name: &str, count: usize) -> Vec<String> {
    let read = || -> std::io::Result<VecDeque<String>> {
        let mut file = File::open(state.log_file(name))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut lines = VecDeque::with_capacity(count);
        for line in BufReader::new(file).split(b'\n') {
            if lines.len() == count {
                lines.pop_front();
            }
            lines.push_back(String::from_utf8_lossy(&line?).into_owned());
        }
        Ok(lines)
    };
    read().map(Vec::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn state() -> (StateDir, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        (StateDir::open(Some(folder.path())).expect("the folder opens"), folder)
    }

    #[test]
    fn the_last_lines_are_the_last_lines() {
        let (state, _folder) = state();
        let mut file = open(&state, "edge").expect("it opens");
        for number in 0..50 {
            writeln!(file, "line {number}").expect("it is written");
        }
        assert_eq!(last_lines(&state, "edge", 2), ["line 48", "line 49"]);
        assert!(last_lines(&state, "nobody", 2).is_empty());
    }

    #[test]
    fn a_long_file_is_set_aside_and_a_short_one_added_to() {
        let (state, _folder) = state();
        writeln!(open(&state, "edge").expect("it opens"), "first").expect("it is written");
        let file = open(&state, "edge").expect("it opens");
        assert_eq!(file.metadata().expect("it is there").len(), 6);
        file.set_len(MAX_BYTES + 1).expect("it grows");
        cut(&state, "edge").expect("it is cut");
        assert_eq!(file.metadata().expect("it is there").len(), 0);
        file.set_len(MAX_BYTES + 1).expect("it grows again");
        let file = open(&state, "edge").expect("it opens");
        assert_eq!(file.metadata().expect("it is there").len(), 0);
        assert!(state.path().join("log/edge.log.1").exists());
    }
}
