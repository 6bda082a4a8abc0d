//! Something to look at on a fresh machine.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;

use crate::database::Db;

/// What was loaded.
#[derive(Debug)]
pub struct Summary {
    files: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files hold nothing that this version loads", self.files)
    }
}

/// Loads the data in `folder`.
pub async fn load(db: &Db, folder: &Path) -> anyhow::Result<Summary> {
    db.ping().await?;
    let files = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?.count();
    Ok(Summary { files })
}
